"""Arguments and replies of the Lua scripts, as objects."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, Self

from skep_shared.broker.origins import Origin
from skep_shared.checkpoints.checkpoint_ids import CheckpointId


@dataclass(frozen=True, slots=True)
class Placed:
    """A cell's place in its session; `first_event` and `final_event` are None until it has committed."""

    seq: int
    first_event: int | None = None
    final_event: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A session's progress: last submitted cell, last committed cell, last event; and its owner's token."""

    seq: int
    cursor: int
    last: int
    token: str

    def is_behind(self, other: "Mark") -> bool:
        """Return whether the other mark is ahead in any number."""
        return self.seq < other.seq or self.cursor < other.cursor or self.last < other.last


class SubmitStatus(StrEnum):
    """The status in the reply of submit.lua."""

    OK = "OK"
    CLOSED = "CLOSED"
    FULL = "FULL"
    FAST = "FAST"
    KNOWN = "KNOWN"
    QUOTA = "QUOTA"
    WEAKER = "WEAKER"


@dataclass(frozen=True, slots=True)
class ExceededQuota:
    """A quota that a submit would exceed: its name, what it would be at, and its bound.

    wait_ms: in how many ms the same submit fits; None if waiting alone does not help.
    """

    quota: str
    value: int
    bound: int
    wait_ms: int | None


@dataclass(frozen=True, slots=True)
class Submitted:
    """The reply to a submit; `cells` in the order of the request, empty unless OK.

    limit: with FULL or FAST, the limit that the cells exceed. new: with FAST, how many of the cells are new ones.
    wait_ms: with FAST, after what time they don't exceed it any more, 0 for never. known: with KNOWN, the id of the
    known cell that follows a new one. exceeded: with QUOTA. sandbox: with WEAKER, the tier that the session asks for,
    which is weaker than the one in the submit's options.
    """

    status: SubmitStatus
    last_event: int = 0
    pending: int = 0
    limit: int = 0
    new: int = 0
    wait_ms: int = 0
    cells: tuple[Placed, ...] = ()
    known: str = ""
    exceeded: ExceededQuota | None = None
    sandbox: str = ""


@dataclass(frozen=True, slots=True)
class Watched:
    """The place of a known cell, and its session's last event."""

    cell: Placed
    last_event: int


@dataclass(frozen=True, slots=True)
class Shard:
    """What all workers of a shard share.

    shard_id: random, made with the shard. directory: absolute path below which sessions have their directories.
    hash_seed: PYTHONHASHSEED of the interpreters that run sessions.
    """

    shard_id: str
    directory: str
    hash_seed: int


class ClaimStatus(StrEnum):
    """The status in the reply of claim.lua.

    QUOTA: as many sessions of its tenant have an owner as its quota permits. WEAKER: the worker's sandbox is weaker
    than the one that the session asks for.
    """

    OK = "OK"
    OWNED = "OWNED"
    NOT_ALIVE = "NOT_ALIVE"
    UNKNOWN = "UNKNOWN"
    CLOSED = "CLOSED"
    QUOTA = "QUOTA"
    WEAKER = "WEAKER"


class KeptRequest(NamedTuple):
    """An interrupt or a cancel of a pending cell that a session keeps for its next owner."""

    seq: int
    kind: str
    signature: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read SEQ:KIND or SEQ:KIND:SIGNATURE, as control.lua writes it. Raises ValueError."""
        number, _, rest = text.partition(":")
        kind, _, signature = rest.partition(":")
        return cls(int(number), kind, signature)


@dataclass(frozen=True, slots=True)
class Claim:
    """Ownership of a session, and its progress; every write carries `token` and `epoch`.

    requests: interrupts and cancels received for cells before this claim. created_at: in ms; distinguishes the
    session from an earlier one of the same id. origins: the sessions whose chunks it reads besides its own. said: (seq,
    attempt) pairs that earlier owners have announced in events. losses: owners that died since the last commit.
    idle_losses: the ones among them that had begun none of the pending cells. handed_over: the previous owner shut down
    while the first pending cell was running.
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
    options: bytes = field(repr=False)  # it may have secrets
    head: CheckpointId
    requests: tuple[KeptRequest, ...] = ()
    created_at: int = 0
    origins: tuple[Origin, ...] = ()
    said: tuple[tuple[int, int], ...] = ()
    idle_losses: int = 0
    handed_over: bool = False


NONE_MADE: Final = b"!"  # in the place of a manifest
HOLDS_AGAIN: Final = b"="


@dataclass(frozen=True, slots=True)
class CellCommit:
    """One cell of a commit: the number of its first event, and the events that are not written yet.

    manifest: of the checkpoint after the cell; b"" if the previous checkpoint is still as valid as it was; HOLDS_AGAIN
    if it is valid again after cells whose effects it lacked; NONE_MADE if no checkpoint could be made. blobs: chunks
    that the manifest names and that are not stored; b"" as content stands for a chunk that was stored ahead of the
    commit and must still exist. written_bytes: size of the events that are written already, None if unknown; if it is
    small, the reply includes these events.
    """

    cell_id: str
    first_event: int
    events: tuple[bytes, ...]
    manifest: bytes = b""
    blobs: tuple[tuple[bytes, bytes], ...] = ()
    written_bytes: int | None = 0


@dataclass(frozen=True, slots=True)
class Pruned:
    """The reply of prune.lua. Unless `is_done`, nothing was removed, as one of the checkpoints must be retained.

    protected: checkpoints that have a name or that a fork started from; unless done, also the head.
    """

    is_done: bool
    chunks: int
    protected: frozenset[CheckpointId]


class NameStatus(StrEnum):
    """The status in the reply of name.lua."""

    OK = "OK"
    UNKNOWN = "UNKNOWN"
    TAKEN = "TAKEN"
    FULL = "FULL"


@dataclass(frozen=True, slots=True)
class ForkSource:
    """A checkpoint to fork from. created_at: of its session, read together with the checkpoint."""

    session_id: str
    created_at: int
    checkpoint: CheckpointId


@dataclass(frozen=True, slots=True)
class Opened:
    """The reply to an open. sandbox: the tier of an existing session, if it is weaker than the wanted one."""

    is_new: bool
    sandbox: str = ""


class ForkStatus(StrEnum):
    """The status in the reply of fork.lua."""

    OK = "OK"
    MISSING = "MISSING"
    WEAKER = "WEAKER"
    EXISTS = "EXISTS"


class ControlStatus(StrEnum):
    """The status in the reply of control.lua."""

    OK = "OK"
    UNKNOWN = "UNKNOWN"
    IDLE = "IDLE"
    ABSENT = "ABSENT"
    KEPT = "KEPT"
    UNSIGNED = "UNSIGNED"


@dataclass(frozen=True, slots=True)
class Controlled:
    """The reply to a request. owner: the worker that has received it."""

    status: ControlStatus
    owner: str = field(default="", compare=False)


class UpdateStatus(StrEnum):
    """The status in the reply of update.lua."""

    OK = "OK"
    UNKNOWN = "UNKNOWN"
    CLOSED = "CLOSED"
    CHANGED = "CHANGED"
    UNSIGNED = "UNSIGNED"


@dataclass(frozen=True, slots=True)
class Closed:
    """The reply to a close; `state` is UNKNOWN, CLOSED, CLOSING, UNSIGNED or USED."""

    state: str
    last_event: int = 0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The reply to a heartbeat. neglected: how many silent workers and overdue sessions there are.

    next_ms: in how many ms the next worker or session may be one of them.
    """

    now_ms: int
    was_alive: bool
    neglected: int
    next_ms: int


@dataclass(frozen=True, slots=True)
class Recovered:
    """The number of dead workers on a page, and the sessions to activate."""

    dead: int
    waiting: tuple[str, ...] = ()
