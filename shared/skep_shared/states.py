"""Lifecycles as tables: which step leads from which state to which.

A step that the table doesn't have raises IllegalTransition with both names, so that a wrong order of events is found
where it happens.
"""

from enum import IntEnum, StrEnum
from typing import Final

from skep_shared.errors import IllegalTransition


class CellStatus(StrEnum):
    """How a cell ended; final, and written once, in its commit."""

    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    LOST = "lost"
    CANCELLED = "cancelled"


class SessionState(StrEnum):
    """The `state` field of the session's hash; it is independent of whether the session has an owner."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class ResidentState(StrEnum):
    """The state of one session's residency on a worker. Its end has one state for each reason."""

    CLAIMED = "claimed"  # it has no process
    STARTING = "starting"
    READY = "ready"
    ROLLING_BACK = "rolling_back"
    # It ends, and this is why. A process that exists still finishes what it runs.
    DRAINING = "draining"
    HIBERNATING = "hibernating"
    HURRIED = "hurried"  # it drains without waiting for the running cell
    HANDING_OVER = "handing_over"  # its process is killed because the worker stops; the running cell may run again
    CLOSING = "closing"
    HURRIED_CLOSING = "hurried_closing"
    LOST = "lost"  # another worker is the owner
    GAP = "gap"  # Redis has fewer events than this owner has written
    # It has ended.
    RELEASED = "released"
    FENCED = "fenced"
    OVER = "over"  # all its requests are answered too


class ResidentStep(StrEnum):
    """What happens to a resident."""

    START = "start"
    HELLO = "hello"
    EXIT = "exit"
    ROLL_BACK = "roll_back"
    ROLLED_BACK = "rolled_back"
    DRAIN = "drain"
    HIBERNATE = "hibernate"
    HURRY = "hurry"
    HAND_OVER = "hand_over"
    CLOSE = "close"
    LOSE = "lose"
    FIND_GAP = "find_gap"
    RELEASE = "release"
    FENCE = "fence"
    END = "end"


_R, _S = ResidentState, ResidentStep

ENDED_RESIDENT: Final = frozenset({_R.RELEASED, _R.FENCED, _R.OVER})
LEAVING_RESIDENT: Final = frozenset({
    _R.DRAINING, _R.HIBERNATING, _R.HURRIED, _R.HANDING_OVER, _R.CLOSING, _R.HURRIED_CLOSING, _R.LOST, _R.GAP,
})  # fmt: skip
_STAYING: Final = (_R.CLAIMED, _R.STARTING, _R.READY, _R.ROLLING_BACK)

# What a client, another worker or Redis requests or reveals, at any time, perhaps too late.
_REASONS_TO_LEAVE: Final = {
    _S.DRAIN: _R.DRAINING,
    _S.HIBERNATE: _R.HIBERNATING,
    _S.HURRY: _R.HURRIED,
    _S.CLOSE: _R.CLOSING,
    _S.LOSE: _R.LOST,
    _S.FIND_GAP: _R.GAP,
}

NEXT_RESIDENT: Final[dict[tuple[ResidentState, ResidentStep], ResidentState]] = {
    (_R.CLAIMED, _S.START): _R.STARTING,
    (_R.STARTING, _S.HELLO): _R.READY,
    # The process has ended; the session remains resident, and the next cell starts another process.
    (_R.STARTING, _S.EXIT): _R.CLAIMED,
    (_R.READY, _S.EXIT): _R.CLAIMED,
    # A rollback ends the process, so that the next one starts from the other checkpoint.
    (_R.CLAIMED, _S.ROLL_BACK): _R.ROLLING_BACK,
    (_R.READY, _S.ROLL_BACK): _R.ROLLING_BACK,
    (_R.ROLLING_BACK, _S.EXIT): _R.ROLLING_BACK,
    (_R.ROLLING_BACK, _S.ROLLED_BACK): _R.CLAIMED,
    **{(state, step): reason for state in _STAYING for step, reason in _REASONS_TO_LEAVE.items()},
    # A resident that leaves starts nothing, but what was under way may complete: a start, a rollback, its process's
    # end, and also the release that had been sent when the loss was noticed.
    **{
        (state, step): state
        for state in LEAVING_RESIDENT
        for step in (_S.HELLO, _S.EXIT, _S.ROLL_BACK, _S.ROLLED_BACK, *_REASONS_TO_LEAVE)
    },
    **{(state, _S.HAND_OVER): _R.HANDING_OVER for state in LEAVING_RESIDENT},
    **{(state, _S.RELEASE): _R.RELEASED for state in LEAVING_RESIDENT},
    # Of several reasons for the end the first of these counts: a loss, a gap, a close, hurry.
    (_R.DRAINING, _S.HURRY): _R.HURRIED,
    (_R.HIBERNATING, _S.HURRY): _R.HURRIED,
    (_R.CLOSING, _S.HURRY): _R.HURRIED_CLOSING,
    (_R.DRAINING, _S.CLOSE): _R.CLOSING,
    (_R.HIBERNATING, _S.CLOSE): _R.CLOSING,
    (_R.HURRIED, _S.CLOSE): _R.HURRIED_CLOSING,
    **{(state, _S.LOSE): _R.LOST for state in LEAVING_RESIDENT - {_R.HANDING_OVER}},
    **{(state, _S.FIND_GAP): _R.GAP for state in LEAVING_RESIDENT - {_R.HANDING_OVER, _R.LOST}},
    # Another worker has the session: whatever was under way here is over.
    **{(state, _S.FENCE): _R.FENCED for state in _R if state not in {_R.RELEASED, _R.OVER}},
    **{(state, step): state for state in ENDED_RESIDENT for step in _REASONS_TO_LEAVE},
    **{(state, _S.END): _R.OVER for state in _R if state is not _R.OVER},
}


def next_resident(state: ResidentState, step: ResidentStep) -> ResidentState:
    """Return the state that follows. Raise IllegalTransition for a step that the state doesn't have."""
    try:
        return NEXT_RESIDENT[state, step]
    except KeyError:
        raise IllegalTransition("resident", state, step) from None


class OperationState(StrEnum):
    """The state of an operation (complete, inspect, variables …)."""

    PENDING = "pending"
    ACTIVE = "active"
    DONE = "done"


PAGE_OF_VARIABLES: Final = 5000  # names in one answer; after a full page a client asks for the next one
PAGE_OF_FILES: Final = 10_000


class AnswerKind(IntEnum):
    """What the answer to an operation holds: its result, the reason why there is none, or a request to send it again.

    MOVED: the session was leaving its worker when the request arrived, and has no owner now: send it again. FULL: there
    is no result because Redis is full. UNSIGNED: the worker has refused the operation's signature.
    """

    RESULT = 0
    ERROR = 1
    MOVED = 2
    FULL = 3
    UNSIGNED = 4


class OperationStep(StrEnum):
    """What happens to an operation."""

    START = "start"
    FINISH = "finish"
    CANCEL = "cancel"
    EXPIRE = "expire"


_O, _P = OperationState, OperationStep

NEXT_OPERATION: Final[dict[tuple[OperationState, OperationStep], OperationState]] = {
    (_O.PENDING, _P.START): _O.ACTIVE,
    (_O.PENDING, _P.CANCEL): _O.DONE,
    (_O.PENDING, _P.EXPIRE): _O.DONE,
    (_O.ACTIVE, _P.FINISH): _O.DONE,
    (_O.ACTIVE, _P.CANCEL): _O.DONE,
    (_O.ACTIVE, _P.EXPIRE): _O.DONE,
}


def next_operation(state: OperationState, step: OperationStep) -> OperationState:
    """Return the state that follows. Raise IllegalTransition for a step that the state doesn't have."""
    try:
        return NEXT_OPERATION[state, step]
    except KeyError:
        raise IllegalTransition("operation", state, step) from None
