"""What the Lua scripts are told and answer, as objects."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from skep_shared.checkpoint_ids import CheckpointId
from skep_shared.manifests import Origin


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a cell stands: `first_event` and `final_event` once it has committed, None before."""

    seq: int
    first_event: int | None = None
    final_event: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a session is: last cell submitted, last committed, last event; and its owner's token."""

    seq: int
    cursor: int
    last: int
    token: str

    def is_behind(self, other: "Mark") -> bool:
        """Tell whether anything that the other has is missing here."""
        return self.seq < other.seq or self.cursor < other.cursor or self.last < other.last


class SubmitStatus(StrEnum):
    """What submit.lua answered."""

    OK = "OK"
    CLOSED = "CLOSED"
    FULL = "FULL"


@dataclass(frozen=True, slots=True)
class Submitted:
    """The answer to a submit; `cells` in the order given, empty unless OK."""

    status: SubmitStatus
    last_event: int = 0
    needs_activation: bool = False
    pending: int = 0
    cells: tuple[Placed, ...] = ()


@dataclass(frozen=True, slots=True)
class Watched:
    """Where a known cell stands, and the session's last event and cursor while it is pending."""

    cell: Placed
    last_event: int


@dataclass(frozen=True, slots=True)
class Shard:
    """What all workers of a shard share.

    shard_id: random, made with the shard. directory: absolute path below which sessions have their directories.
    hash_seed: of the interpreters that run sessions.
    """

    shard_id: str
    directory: str
    hash_seed: int


class ClaimStatus(StrEnum):
    """What claim.lua answered."""

    OK = "OK"
    OWNED = "OWNED"
    NOT_ALIVE = "NOT_ALIVE"
    UNKNOWN = "UNKNOWN"
    CLOSED = "CLOSED"


@dataclass(frozen=True, slots=True)
class Claim:
    """Ownership of a session, and where it stands; every write carries `token` and `epoch`.

    requests: (seq, "interrupt" or "cancel") that came for a cell, before or during an earlier stay. created_at: in ms,
    which tells the session from an earlier one of its id. origins: whose chunks it reads besides its own. said: (seq,
    attempt) that earlier owners have told of in events. idle_losses: those losses whose owners had begun none
    of the cells that are pending. handed_over: the owner before shut down while the first of them was running.
    """

    session_id: str
    token: str
    epoch: int
    cursor: int
    seq: int
    last_event: int
    losses: int
    previous_owner: str
    closing: bool
    options: bytes
    head: CheckpointId
    requests: tuple[tuple[int, str], ...] = ()
    created_at: int = 0
    origins: tuple[Origin, ...] = ()
    said: tuple[tuple[int, int], ...] = ()
    idle_losses: int = 0
    handed_over: bool = False


NONE_MADE: Final = b"!"  # in the place of a manifest
HOLDS_AGAIN: Final = b"="


@dataclass(frozen=True, slots=True)
class CellCommit:
    """One cell of a commit: the number of its first event, and those of its events that are not written yet.

    manifest: of the checkpoint after it; b"" if the one before still holds, as far as it did; HOLDS_AGAIN if it does
    after cells of which it did not have the effects; NONE_MADE if no checkpoint could be made. blobs: chunks it names
    that are not stored; with b"" for its content one that was stored for its sake, and has to be there still.
    written_bytes: of its events that are written already, None if that isn't known; where they are few, the reply
    carries them too.
    """

    cell_id: str
    first_event: int
    events: tuple[bytes, ...]
    manifest: bytes = b""
    blobs: tuple[tuple[bytes, bytes], ...] = ()
    written_bytes: int | None = 0


@dataclass(frozen=True, slots=True)
class Pruned:
    """What prune.lua answered: `is_done`, or nothing was removed since a checkpoint among them must stay.

    protected: checkpoints that have a name or that a fork began from; unless done, the head too.
    """

    is_done: bool
    chunks: int
    protected: frozenset[CheckpointId]


class NameStatus(StrEnum):
    """What name.lua answered."""

    OK = "OK"
    UNKNOWN = "UNKNOWN"
    TAKEN = "TAKEN"
    FULL = "FULL"


@dataclass(frozen=True, slots=True)
class ForkSource:
    """A checkpoint to fork from. created_at: of its session, as read with it."""

    session_id: str
    created_at: int
    checkpoint: CheckpointId


class ForkStatus(StrEnum):
    """What fork.lua answered."""

    OK = "OK"
    MISSING = "MISSING"
    EXISTS = "EXISTS"


class ControlStatus(StrEnum):
    """What control.lua answered."""

    OK = "OK"
    UNKNOWN = "UNKNOWN"
    IDLE = "IDLE"
    ABSENT = "ABSENT"
    KEPT = "KEPT"


@dataclass(frozen=True, slots=True)
class Controlled:
    """Where a request went. owner: the worker that has it now."""

    status: ControlStatus
    needs_activation: bool = False
    owner: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Closed:
    """The answer to a close; `state` is UNKNOWN, CLOSED or CLOSING."""

    state: str
    last_event: int = 0
    needs_activation: bool = False


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a worker hears. neglected: silent workers and forgotten sessions; next_ms: when the next one may be."""

    now_ms: int
    was_alive: bool
    neglected: int
    next_ms: int


@dataclass(frozen=True, slots=True)
class Recovered:
    """How many dead workers a page showed, and which sessions want an owner."""

    dead: int
    waiting: tuple[str, ...] = ()
