"""Lifecycles as tables: which step leads from which state to which.

A step that its table doesn't have raises IllegalTransition with both names, so that a wrong order of events is found
where it happens.
"""

from enum import IntEnum, StrEnum
from typing import Final

from skep_shared.errors import IllegalTransition


class CellStatus(StrEnum):
    """How a cell ended; the last word on it, written once with its commit."""

    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    LOST = "lost"
    CANCELLED = "cancelled"


class SessionState(StrEnum):
    """What the session's hash says; owner or not is another question."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class ResidentState(StrEnum):
    """One session's stay on a worker."""

    CLAIMED = "claimed"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    RELEASED = "released"
    FENCED = "fenced"


class ResidentStep(StrEnum):
    """What happens to a resident."""

    START = "start"
    HELLO = "hello"
    EXIT = "exit"
    DRAIN = "drain"
    RELEASE = "release"
    FENCE = "fence"


_R, _S = ResidentState, ResidentStep

NEXT_RESIDENT: Final[dict[tuple[ResidentState, ResidentStep], ResidentState]] = {
    (_R.CLAIMED, _S.START): _R.STARTING,
    (_R.STARTING, _S.HELLO): _R.READY,
    # The process is gone; the session stays, and the next cell starts another process.
    (_R.STARTING, _S.EXIT): _R.CLAIMED,
    (_R.READY, _S.EXIT): _R.CLAIMED,
    # Draining takes no new cells; what runs goes on until it is done or its process is.
    (_R.CLAIMED, _S.DRAIN): _R.DRAINING,
    (_R.STARTING, _S.DRAIN): _R.DRAINING,
    (_R.READY, _S.DRAIN): _R.DRAINING,
    (_R.DRAINING, _S.DRAIN): _R.DRAINING,
    (_R.DRAINING, _S.HELLO): _R.DRAINING,
    (_R.DRAINING, _S.EXIT): _R.DRAINING,
    (_R.DRAINING, _S.RELEASE): _R.RELEASED,
    # Another worker has the session: whatever was going on here is over.
    **{(state, _S.FENCE): _R.FENCED for state in _R if state is not _R.RELEASED},
}


def next_resident(state: ResidentState, step: ResidentStep) -> ResidentState:
    """Give the state that follows; raises IllegalTransition."""
    try:
        return NEXT_RESIDENT[state, step]
    except KeyError:
        raise IllegalTransition("resident", state, step) from None


class OperationState(StrEnum):
    """Where an operation (complete, inspect, variables …) stands."""

    PENDING = "pending"
    ACTIVE = "active"
    DONE = "done"


PAGE_OF_VARIABLES: Final = 5000  # names in one answer; a client asks for the next ones after a full page
PAGE_OF_FILES: Final = 10_000


class AnswerKind(IntEnum):
    """What an answer to an operation is: its result, the reason why there is none, or that it has to be sent again.

    The last one: the session was leaving its worker when the request came there, and has no owner now.
    """

    RESULT = 0
    ERROR = 1
    MOVED = 2


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
    """Give the state that follows; raises IllegalTransition."""
    try:
        return NEXT_OPERATION[state, step]
    except KeyError:
        raise IllegalTransition("operation", state, step) from None
