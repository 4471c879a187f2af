"""Errors between parts of skep: they show a defect, a mismatch of versions, or a change of owner."""

from skep_shared.errors.base import SkepError


class ProtocolError(SkepError):
    """Two parts of skep disagree about the bytes that they exchange; the exchange has ended."""


class FrameTooLarge(ProtocolError):
    """A frame of `size_bytes` exceeds `limit_bytes`."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(size_bytes, limit_bytes)
        self.size_bytes, self.limit_bytes = size_bytes, limit_bytes

    def __str__(self) -> str:
        """Return both sizes."""
        return f"a frame of {self.size_bytes} bytes exceeds the limit of {self.limit_bytes}"


class MalformedFrame(ProtocolError):
    """Bytes that are not a valid frame: `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        """Return the reason."""
        return f"malformed frame: {self.reason}"


class VersionMismatch(ProtocolError):
    """The other end uses version `theirs` of the protocol, this end `ours`."""

    def __init__(self, theirs: int, ours: int) -> None:
        super().__init__(theirs, ours)
        self.theirs, self.ours = theirs, ours

    def __str__(self) -> str:
        """Return both versions and what to do."""
        return (
            f"the other end uses protocol version {self.theirs}, this end {self.ours}: "
            "install the same version of skep on both"
        )


class IllegalTransition(SkepError):
    """The `machine` has no `step` from `state` in its table."""

    def __init__(self, machine: str, state: str, step: str) -> None:
        super().__init__(machine, state, step)
        self.machine, self.state, self.step = machine, state, step

    def __str__(self) -> str:
        """Return the machine, the state and the step."""
        return f"{self.machine}: no step {self.step!r} from state {self.state!r}"


class Fenced(SkepError):
    """The session `session_id` has had another owner since epoch `epoch`; nothing was written."""

    def __init__(self, session_id: str, epoch: int) -> None:
        super().__init__(session_id, epoch)
        self.session_id, self.epoch = session_id, epoch

    def __str__(self) -> str:
        """Return the session and the current epoch."""
        return f"session {self.session_id!r} has another owner (epoch {self.epoch}); nothing was written"


class EventGap(SkepError):
    """A writer of `session_id` was about to write event `expected`, but the stream ends at `last`."""

    def __init__(self, session_id: str, expected: int, last: int) -> None:
        super().__init__(session_id, expected, last)
        self.session_id, self.expected, self.last = session_id, expected, last

    def __str__(self) -> str:
        """Return both positions."""
        return f"session {self.session_id!r}: the writer is at event {self.expected}, the stream ends at {self.last}"
