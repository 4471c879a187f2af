"""What a worker finds in its mailbox, as objects: new cells of its sessions, and requests to them.

A field's name is one letter, because every cell and every operation costs such an entry: `k` is the kind of the entry,
`s` the session, `q` the seq of a cell. submit.lua, claim.lua, control.lua, close.lua and update.lua write these three,
and the fields of a cell; the other fields are packed here. A cell has the same fields in its session's stream.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Self

MAX_SEQ: Final = 2**53  # Lua's numbers are exact up to here
MAX_TIME: Final = 1e14  # ms of the year 5138
Field = str | bytes | int
# What clients send through control.lua and update.lua.
RequestKind = Literal["interrupt", "cancel", "answer", "operate", "update"]


class SubmittedCell(NamedTuple):
    """A cell with its body, a packed CellSpec.

    A tuple, because every cell costs one, and a frozen dataclass takes twice as long to make.
    """

    session_id: str
    seq: int
    cell_id: str
    body: bytes
    submitted_ms: float

    @classmethod
    def unpack(cls, session_id: str, seq: int, fields: Mapping[bytes, bytes]) -> Self:
        """Read the entry of a mailbox or of a session's stream. Raises KeyError, ValueError."""
        return cls(session_id, seq, fields[b"c"].decode(), fields[b"b"], _finite(fields[b"t"]))


@dataclass(frozen=True, slots=True)
class CellsSubmitted:
    """The session has cells up to `seq`; those that have not arrived are in its stream."""

    session_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class InterruptCell:
    """End a cell, now or when it starts. seq: 0 for the running cell. cell_id: the cell that was signed for, or ""."""

    session_id: str
    seq: int
    cell_id: str = ""


@dataclass(frozen=True, slots=True)
class CancelCell:
    """Cancel a cell that has not started. cell_id: the cell that was signed for, or ""."""

    session_id: str
    seq: int
    cell_id: str = ""


@dataclass(frozen=True, slots=True)
class InputAnswer:
    """The line that the running cell waits for; None: there is none (EOF)."""

    session_id: str
    text: str | None

    def pack(self) -> dict[str, Field]:
        """Return the fields that control.lua adds to a mailbox entry."""
        return {} if self.text is None else {"x": self.text}


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """What a client asks of a session's worker, and waits for.

    deadline_seconds: how long the client still waits, from when it sends the request. expires_at: when that is over, in
    monotonic seconds of the process that has unpacked the request.
    """

    client_id: str
    operation_id: str
    kind: str
    payload: bytes
    deadline_seconds: float
    expires_at: float = float("inf")

    def pack(self) -> dict[str, Field]:
        """Return the fields that control.lua adds to a mailbox entry."""
        return {
            "c": self.client_id,
            "o": self.operation_id,
            "m": self.kind,
            "p": self.payload,
            "d": str(self.deadline_seconds),
        }

    @classmethod
    def unpack(cls, fields: Mapping[bytes, bytes]) -> Self:
        """Read a mailbox entry. Raises KeyError, ValueError."""
        seconds = _finite(fields[b"d"])
        return cls(
            fields[b"c"].decode(),
            fields[b"o"].decode(),
            fields[b"m"].decode(),
            fields[b"p"],
            seconds,
            time.monotonic() + seconds,
        )


@dataclass(frozen=True, slots=True)
class Operate:
    """An operation on a session."""

    session_id: str
    request: OperationRequest


@dataclass(frozen=True, slots=True)
class CloseSession:
    """End the session."""

    session_id: str


@dataclass(frozen=True, slots=True)
class UpdateSession:
    """The session has other options. idle_seconds: the one of them that concerns its owner; None: the worker's."""

    session_id: str
    idle_seconds: float | None

    def pack(self) -> dict[str, Field]:
        """Return the fields that update.lua adds to a mailbox entry."""
        return {"d": "" if self.idle_seconds is None else repr(self.idle_seconds)}

    @classmethod
    def unpack(cls, session_id: str, fields: Mapping[bytes, bytes]) -> Self:
        """Read a mailbox entry. Raises KeyError, ValueError."""
        seconds = _finite(fields[b"d"]) if fields[b"d"] else None
        if seconds is not None and seconds <= 0:
            raise ValueError(f"idle_seconds is above 0, not {seconds:g}")
        return cls(session_id, seconds)


@dataclass(frozen=True, slots=True)
class ActivateSession:
    """Make the session resident here: another worker has chosen this one."""

    session_id: str

    def pack(self) -> dict[Any, Any]:
        """Return the fields of the entry, for the driver."""
        return {"k": "activate", "s": self.session_id}


@dataclass(frozen=True, slots=True)
class RefusedRequest:
    """A request whose signature was refused; `operation` is the one to be answered if it was an operation."""

    session_id: str
    kind: str
    what: str
    reason: str
    operation: OperationRequest | None = None


@dataclass(frozen=True, slots=True)
class UnknownEntry:
    """An entry of a kind that this version doesn't have."""

    session_id: str
    kind: str


MailboxEntry = (
    SubmittedCell
    | CellsSubmitted
    | InterruptCell
    | CancelCell
    | InputAnswer
    | Operate
    | CloseSession
    | UpdateSession
    | ActivateSession
    | RefusedRequest
    | UnknownEntry
)


def unpack_mailbox_entry(fields: Mapping[bytes, bytes]) -> MailboxEntry:
    """Read a mailbox entry. Raises KeyError, ValueError."""
    session_id = fields[b"s"].decode()
    match fields[b"k"]:
        case b"cell":
            return SubmittedCell.unpack(session_id, _seq(fields[b"q"]), fields)
        case b"wake":
            return CellsSubmitted(session_id, _seq(fields[b"q"]))
        case b"interrupt":
            return InterruptCell(session_id, _seq(fields[b"q"]))
        case b"cancel":
            return CancelCell(session_id, _seq(fields[b"q"]))
        case b"answer":
            return InputAnswer(session_id, fields[b"x"].decode() if b"x" in fields else None)
        case b"operate":
            return Operate(session_id, OperationRequest.unpack(fields))
        case b"close":
            return CloseSession(session_id)
        case b"update":
            return UpdateSession.unpack(session_id, fields)
        case b"activate":
            return ActivateSession(session_id)
        case kind:
            return UnknownEntry(session_id, kind.decode("utf-8", "replace"))


def _seq(text: bytes) -> int:
    """Read the seq of a cell, or 0. Raises ValueError, also for one that no frame and no stream id can carry."""
    seq = int(text)
    if not 0 <= seq <= MAX_SEQ:
        raise ValueError(f"the seq of a cell is from 0 to {MAX_SEQ}, not {seq}")
    return seq


def _finite(text: bytes) -> float:
    """Read a number of ms or seconds. Raises ValueError, also for one that can't be a time: no clock adds it."""
    number = float(text)
    if not -MAX_TIME <= number <= MAX_TIME:
        raise ValueError(f"a time of at most {MAX_TIME:g} was expected, not {number}")
    return number
