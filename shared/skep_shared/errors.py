"""Every error skep raises, as one tree.

SkepError
├── InvalidArgument (ValueError)        the caller's: a field is refused before anything is written
├── RedisUnavailable (ConnectionError)  the operator's: Redis can't be reached, or stopped answering
├── RedisRefused                        the operator's: Redis answers, but refuses: permissions, credentials
├── RedisUnsuitable                     the operator's: wrong version, or a memory policy that evicts
├── RedisFull                           the operator's: no memory left for new cells
├── StoreUnavailable                    the operator's: the store of checkpoints can't be reached, or refuses
├── BacklogFull                         the caller's: too many cells are waiting in this session
├── SessionClosed                       the caller's: the session has ended and takes no more cells
├── NotFound (LookupError)              the caller's: no such session or cell
├── EventsTrimmed (LookupError)         the operator's: retention has removed events that are needed
├── CellForgotten (LookupError)         the operator's: a cell that was accepted is not known any more
├── ClientUnusable (RuntimeError)       the caller's: a client that is closed, or another loop's or process's
├── WaitTimeout (TimeoutError)          nobody's: the wait ended, the cell goes on
├── OperationFailed                     the session's: complete, inspect or variables could not be answered
├── StartError                          the operator's: a worker, a zygote or a session process didn't start
├── CellError                           the cell's, raised by Outcome.raise_for_status()
│   ├── CellFailed                      its code raised
│   ├── CellInterrupted                 somebody interrupted it
│   ├── CellTimedOut                    its own timeout ended it
│   ├── CellCancelled                   it was removed before it started
│   ├── CellLost                        its worker died and it must not run again
│   └── SessionCrashed                  it killed its own process
├── ProtocolError                       skep's: two parts disagree about the bytes between them
│   ├── FrameTooLarge
│   ├── MalformedFrame
│   └── VersionMismatch
├── IllegalTransition                   skep's: a lifecycle was asked for a step its table doesn't have
├── Fenced                              nobody's: another worker owns the session now
└── EventGap                            skep's: a writer is ahead of the stream it writes to

Arguments are fields, so that `args` survives pickling; the text is made from them.
"""


class SkepError(Exception):
    """Base of all of skep's errors."""


class InvalidArgument(SkepError, ValueError):
    """`field` was given `value`, which breaks `limit`. Nothing has been written."""

    def __init__(self, field: str, value: object, limit: str) -> None:
        super().__init__(field, value, limit)
        self.field, self.value, self.limit = field, value, limit

    def __str__(self) -> str:
        """Name the field, show the value (shortened), state the limit."""
        try:
            shown = repr(self.value)
        except Exception:  # noqa: BLE001 - the value is the caller's: its repr may do anything, an int may be too long
            shown = f"a value of type {type(self.value).__name__}"
        if len(shown) > 80:
            shown = f"{shown[:60]}… ({len(shown)} characters)"
        return f"{self.field}: {shown} is refused: {self.limit}"


class RedisUnavailable(SkepError, ConnectionError):
    """Redis at `url` (password removed) can't be reached or stopped answering; `reason` is the driver's word."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url, self.reason = url, reason

    def __str__(self) -> str:
        """Say where, why, and what to try."""
        return f"Redis at {self.url} is unavailable: {self.reason}. Check the address and that the server is up"


class RedisRefused(SkepError):
    """Redis at `url` (password removed) answers, but refuses what skep needs; `reason` is its own word."""

    def __init__(self, url: str, reason: str, remedy: str) -> None:
        super().__init__(url, reason, remedy)
        self.url, self.reason, self.remedy = url, reason, remedy

    def __str__(self) -> str:
        """Say where, why, and what to do."""
        return f"Redis at {self.url} refuses this client: {self.reason}. {self.remedy}"


class RedisUnsuitable(SkepError):
    """The server answers but can't hold sessions: `what` is `actual`, skep needs `expected`."""

    def __init__(self, what: str, actual: str, expected: str, remedy: str) -> None:
        super().__init__(what, actual, expected, remedy)
        self.what, self.actual, self.expected, self.remedy = what, actual, expected, remedy

    def __str__(self) -> str:
        """Expected against actual, and the remedy."""
        return f"Redis {self.what} is {self.actual!r}, skep needs {self.expected}: {self.remedy}"


class RedisFull(SkepError):
    """Redis has reached its maxmemory; the cell, or the checkpoint, was not accepted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        """Say what still works and what to do."""
        return (
            f"Redis is out of memory: it takes no new cells or large checkpoints ({self.reason}); cells still commit. "
            "Raise maxmemory, or close and purge sessions"
        )


class StoreUnavailable(SkepError):
    """The store of checkpoints at `url` can't be used now; `reason` is its own word."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url, self.reason = url, reason

    def __str__(self) -> str:
        """Say where and why."""
        return f"the checkpoint store at {self.url} is unavailable: {self.reason}"


class BacklogFull(SkepError):
    """`session_id` already has `pending` cells waiting; the limit is `limit`."""

    def __init__(self, session_id: str, pending: int, limit: int) -> None:
        super().__init__(session_id, pending, limit)
        self.session_id, self.pending, self.limit = session_id, pending, limit

    def __str__(self) -> str:
        """State both numbers."""
        return (
            f"session {self.session_id!r} has {self.pending} cells pending, the limit is {self.limit}: "
            "await some outcomes before submitting more"
        )


class SessionClosed(SkepError):
    """`session_id` has been closed; it takes no more cells."""

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        self.session_id = session_id

    def __str__(self) -> str:
        """Say what to do instead."""
        return f"session {self.session_id!r} is closed: submit to another session id, or purge this one first"


class NotFound(SkepError, LookupError):
    """No `what` (session, cell, worker …) is known as `name`."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(what, name)
        self.what, self.name = what, name

    def __str__(self) -> str:
        """Name it."""
        return f"no {self.what} {self.name!r} is known here"


class EventsTrimmed(SkepError, LookupError):
    """Events of `cell_id` of `session_id` from `first_event` on are needed; the ones kept begin with `floor`."""

    def __init__(self, session_id: str, cell_id: str, first_event: int, floor: int) -> None:
        super().__init__(session_id, cell_id, first_event, floor)
        self.session_id, self.cell_id, self.first_event, self.floor = session_id, cell_id, first_event, floor

    def __str__(self) -> str:
        """Name both positions, and the settings that decide."""
        return (
            f"cell {self.cell_id!r} of session {self.session_id!r} has ended, but its events begin at "
            f"{self.first_event}-0, and those that are kept at {self.floor}-0: "
            "keep_events and keep_events_days say how many stay"
        )


class CellForgotten(SkepError, LookupError):
    """`cell_id` was accepted as cell `seq` of `session_id`, which has cells up to `last_seq` and doesn't know it."""

    def __init__(self, session_id: str, cell_id: str, seq: int, last_seq: int) -> None:
        super().__init__(session_id, cell_id, seq, last_seq)
        self.session_id, self.cell_id, self.seq, self.last_seq = session_id, cell_id, seq, last_seq

    def __str__(self) -> str:
        """State both positions, the possible reasons, and what to do."""
        return (
            f"cell {self.cell_id!r} was accepted as number {self.seq} of session {self.session_id!r}, which now has "
            f"cells up to {self.last_seq} and does not know it: Redis has lost it (a failover, a restart from an older "
            "file), or the session was purged. Submit it again with the same cell id"
        )


class ClientUnusable(SkepError, RuntimeError):
    """A client was used where it can't work: `reason`, with what to do instead. Nothing was sent."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        """Give the reason and the remedy."""
        return f"this client can't be used here: {self.reason}"


class WaitTimeout(SkepError, TimeoutError):
    """`what` had not happened after `seconds`; waiting has ended, nothing else has."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(what, seconds)
        self.what, self.seconds = what, seconds

    def __str__(self) -> str:
        """Make clear that only the wait has ended."""
        return f"{self.what} had not happened after {self.seconds:g} s; it is not cancelled, wait again to go on"


class OperationFailed(SkepError):
    """An operation on a session was answered with an error: `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        """Give the reason."""
        return f"the session could not answer: {self.reason}"


class StartError(SkepError):
    """`what` did not start: `reason`."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(what, reason)
        self.what, self.reason = what, reason

    def __str__(self) -> str:
        """Name the part and the reason."""
        return f"{self.what} did not start: {self.reason}"


class CellError(SkepError):
    """A cell ended in another way than `finished`; `ename` and `evalue` are the exception's, if there was one."""

    def __init__(self, session_id: str, cell_id: str, status: str, ename: str, evalue: str, traceback: str) -> None:
        super().__init__(session_id, cell_id, status, ename, evalue, traceback)
        self.session_id, self.cell_id, self.status = session_id, cell_id, status
        self.ename, self.evalue, self.traceback = ename, evalue, traceback

    def __str__(self) -> str:
        """Name the cell, its end, and the error with its traceback."""
        head = f"cell {self.cell_id!r} of session {self.session_id!r} {self.status.replace('_', ' ')}"
        if self.ename:
            head += f": {self.ename}: {self.evalue}" if self.evalue else f": {self.ename}"
        return f"{head}\n{self.traceback}" if self.traceback else head


class CellFailed(CellError):
    """The cell's code raised an exception."""


class CellInterrupted(CellError):
    """The cell was interrupted."""


class CellTimedOut(CellError):
    """The cell ran into its own timeout."""


class CellCancelled(CellError):
    """The cell was removed before it started."""


class CellLost(CellError):
    """The cell's worker died, and the cell must not or can't be run again."""


class SessionCrashed(CellError):
    """The cell ended its own process (signal, exit, out of memory)."""


class ProtocolError(SkepError):
    """Two parts of skep disagree about the bytes between them; the exchange is over."""


class FrameTooLarge(ProtocolError):
    """A frame of `size_bytes` is over `limit_bytes`."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(size_bytes, limit_bytes)
        self.size_bytes, self.limit_bytes = size_bytes, limit_bytes

    def __str__(self) -> str:
        """State both sizes."""
        return f"a frame of {self.size_bytes} bytes is over the limit of {self.limit_bytes}"


class MalformedFrame(ProtocolError):
    """Bytes that are no frame of ours: `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        """Give the reason."""
        return f"malformed frame: {self.reason}"


class VersionMismatch(ProtocolError):
    """The other end speaks protocol `theirs`, this one `ours`."""

    def __init__(self, theirs: int, ours: int) -> None:
        super().__init__(theirs, ours)
        self.theirs, self.ours = theirs, ours

    def __str__(self) -> str:
        """Name both versions."""
        return f"the other end speaks protocol {self.theirs}, this one {self.ours}: install the same skep on both"


class IllegalTransition(SkepError):
    """`machine` in `state` was given `step`, which its table doesn't have."""

    def __init__(self, machine: str, state: str, step: str) -> None:
        super().__init__(machine, state, step)
        self.machine, self.state, self.step = machine, state, step

    def __str__(self) -> str:
        """Name machine, state and step."""
        return f"{self.machine}: no step {self.step!r} from state {self.state!r}"


class Fenced(SkepError):
    """`session_id` has another owner since epoch `epoch`; nothing was written."""

    def __init__(self, session_id: str, epoch: int) -> None:
        super().__init__(session_id, epoch)
        self.session_id, self.epoch = session_id, epoch

    def __str__(self) -> str:
        """Name the session and the epoch that holds."""
        return f"session {self.session_id!r} has another owner (epoch {self.epoch}); nothing was written"


class EventGap(SkepError):
    """A writer of `session_id` expected to write event `expected`; the stream ends at `last`."""

    def __init__(self, session_id: str, expected: int, last: int) -> None:
        super().__init__(session_id, expected, last)
        self.session_id, self.expected, self.last = session_id, expected, last

    def __str__(self) -> str:
        """Name both positions."""
        return f"session {self.session_id!r}: writer is at event {self.expected}, its stream ends at {self.last}"
