"""What producers and workers store for each other in Redis, beside events."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

import msgpack
from pydantic import BaseModel, ConfigDict, Field

from skep_shared.limits import MAX_ATTEMPTS, MAX_OUTPUT_BYTES, MAX_TIMEOUT_SECONDS
from skep_shared.states import SessionState


class OnWorkerLoss(StrEnum):
    """What becomes of a started, uncommitted cell when its worker dies."""

    RETRY = "retry"
    FAIL = "fail"


class _Packed(BaseModel):
    """A model that is stored as a msgpack map; unknown fields of a newer version are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def pack(self) -> bytes:
        """Give the stored form; defaults are left out."""
        fields = self.model_dump(mode="python", exclude_defaults=True)
        packed: bytes = msgpack.packb(fields, default=str)
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Give the object back. Raises ValueError for bytes that are not its stored form."""
        stored = msgpack.unpackb(packed) if packed else {}
        if not isinstance(stored, dict):
            raise ValueError(f"a map was expected, not {type(stored).__name__}")  # noqa: TRY004 - as pydantic's own
        return cls.model_validate({name: value for name, value in stored.items() if name in cls.model_fields})


class CellSpec(_Packed):
    """What to run and how, as submitted."""

    code: str
    timeout: float | None = Field(default=None, gt=0, le=MAX_TIMEOUT_SECONDS)
    on_worker_loss: Literal["retry", "fail"] = "retry"
    max_attempts: int = Field(default=3, ge=1, le=MAX_ATTEMPTS)
    inputs: bytes | None = None
    labels: dict[str, str] = Field(default_factory=dict)

    def pack(self) -> bytes:
        """Give the stored form; defaults are left out. Every submit does this, and pydantic takes its time for it."""
        packed: bytes = msgpack.packb(
            {name: value for name, value in self if name == "code" or value != _CELL_DEFAULTS[name]}
        )
        return packed


_CELL_DEFAULTS: Final = {
    name: field.get_default(call_default_factory=True) for name, field in CellSpec.model_fields.items()
}


class Detection(BaseModel):
    """What the analysis of a session's cells takes for blocking, beside or against its own lists (dotted names).

    always: run every cell that doesn't await this way, whatever it calls.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    blocking: list[str] = []
    not_blocking: list[str] = []
    always: Literal["blocking_sync", "simple_sync"] | None = None


class SessionOptions(_Packed):
    """Options of a session; they are taken from its first submit and hold for its life.

    requires: labels that a worker must have to get the session; without such a worker its cells wait. durability:
    "commit" (an outcome is visible only with its checkpoint), "relaxed" (the outcome first, the checkpoint within a
    second or by the end of the cell that runs then) or "none" (no checkpoints).
    allow_input: whether input() may ask. input_timeout: seconds an answer may take. tla_timeout: seconds that a cell
    which awaits may run. interrupt_grace: seconds between the steps of an interrupt. output_limit: bytes of text a
    cell may put out; what comes after is dropped, and an event says so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: dict[str, str] = Field(default_factory=dict)
    requires: dict[str, str] = Field(default_factory=dict)
    allow_input: bool = True
    input_timeout: Annotated[float, Field(gt=0, le=MAX_TIMEOUT_SECONDS)] = 3600.0
    tla_timeout: Annotated[float, Field(gt=0, le=MAX_TIMEOUT_SECONDS)] | None = None
    interrupt_grace: Annotated[float, Field(ge=0.05, le=60)] = 2.0
    output_limit: Annotated[int, Field(ge=1024, le=MAX_OUTPUT_BYTES)] = 64 * 1024 * 1024
    detection: Detection = Detection()
    durability: Literal["commit", "relaxed", "none"] = "commit"


class SessionInfo(BaseModel):
    """A session as its hash says; `owner` may be dead, `owner_alive` tells. floor: number of the first event kept."""

    model_config = ConfigDict(frozen=True)

    id: str
    state: SessionState
    owner: str | None
    owner_alive: bool
    epoch: int
    seq: int
    cursor: int
    last_event: int
    floor: int
    created_at: datetime
    active_at: datetime

    @property
    def pending(self) -> int:
        """Cells submitted and not committed."""
        return self.seq - self.cursor

    @classmethod
    def from_hash(cls, session_id: str, fields: dict[bytes, bytes], *, owner_alive: bool) -> Self:
        """Read the session hash of that id."""
        owner = fields.get(b"owner", b"").decode()
        created = int(fields.get(b"created_at", 0))
        return cls(
            id=session_id,
            state=SessionState(fields.get(b"state", b"open").decode()),
            owner=owner or None,
            owner_alive=owner_alive,
            epoch=int(fields.get(b"epoch", 0)),
            seq=int(fields.get(b"seq", 0)),
            cursor=int(fields.get(b"cursor", 0)),
            last_event=int(fields.get(b"last", 0)),
            floor=int(fields.get(b"floor", 1)),
            created_at=from_ms(created),
            active_at=from_ms(int(fields.get(b"active_at", created))),
        )


class WorkerFacts(_Packed):
    """What a worker says of itself with each heartbeat; one that drains has no capacity."""

    host: str
    pid: int
    version: str
    python: str
    started_at: datetime
    capacity: int
    resident: int
    counters: dict[str, int] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)


class WorkerInfo(WorkerFacts):
    """A live worker as its marker says."""

    id: str
    heartbeat_at: datetime

    @classmethod
    def from_marker(cls, worker_id: str, facts: bytes, heartbeat_ms: float) -> Self:
        """Read the facts of that worker's marker."""
        fields: dict[str, Any] = msgpack.unpackb(facts)
        return cls.model_validate({**fields, "id": worker_id, "heartbeat_at": from_ms(heartbeat_ms)})


def from_ms(milliseconds: float) -> datetime:
    """Give the UTC time of Redis milliseconds."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
