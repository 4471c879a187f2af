"""The entries of a client's reply stream, as objects: what a worker packs, the client unpacks.

A field's name is one letter, because every cell and every operation costs such an entry. The entry of a `CommittedCell`
is written by commit.lua, that of an `OperationAnswer` also by answer.lua, where the server is full.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skep_shared.broker.script_replies import Placed
from skep_shared.event_codec import EVENT_FIELD
from skep_shared.states import AnswerKind


@dataclass(frozen=True, slots=True)
class OperationAnswer:
    """A worker's answer to an operation, in its client's reply stream."""

    operation_id: str
    kind: AnswerKind
    payload: bytes

    def pack(self) -> dict[Any, Any]:
        """Return the fields of the entry, for the driver."""
        return {"o": self.operation_id, "x": int(self.kind), "d": self.payload}


@dataclass(frozen=True, slots=True)
class CommittedCell:
    """The news that a cell has committed, in its client's reply stream; `events` are its own if they came along."""

    session_id: str
    cell_id: str
    placed: Placed
    events: tuple[bytes, ...] = ()


def unpack_reply(fields: Sequence[bytes]) -> OperationAnswer | CommittedCell:
    """Read an entry of a reply stream, in which the field of events repeats. Raises KeyError, ValueError."""
    pairs = list(zip(fields[::2], fields[1::2], strict=True))
    named = dict(pairs)
    if b"o" in named:
        return OperationAnswer(named[b"o"].decode(), AnswerKind(int(named[b"x"])), named[b"d"])
    return CommittedCell(
        named[b"s"].decode(),
        named[b"c"].decode(),
        Placed(int(named[b"q"]), int(named[b"f"]), int(named[b"l"])),
        tuple(value for name, value in pairs if name == EVENT_FIELD),
    )
