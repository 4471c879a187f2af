"""The models that producers and workers store for each other in Redis, except events."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import msgpack
from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError

from skep_shared.isolation.sandbox_tiers import Tier
from skep_shared.isolation.session_limits import Limits
from skep_shared.limits import MAX_ATTEMPTS, MAX_OUTPUT_BYTES, MAX_TIMEOUT_SECONDS
from skep_shared.option_checks import (
    MAX_EXPIRY_SECONDS,
    MAX_IDLE_SECONDS,
    MIN_EXPIRY_SECONDS,
    MIN_IDLE_SECONDS,
    as_invalid_argument,
)
from skep_shared.states import SessionState


class OnWorkerLoss(StrEnum):
    """What happens to a started, uncommitted cell when its worker dies."""

    RETRY = "retry"
    FAIL = "fail"


class _Packed(BaseModel):
    """A model that is stored as a msgpack map. Unknown fields, from a newer version, are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def pack(self) -> bytes:
        """Return the stored form, without fields that have their default value."""
        fields = self.model_dump(mode="python", exclude_defaults=True)
        packed: bytes = msgpack.packb(fields, default=str)
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Return the object from its stored form. Raises ValueError for any other bytes."""
        stored = msgpack.unpackb(packed) if packed else {}
        if not isinstance(stored, dict):
            raise ValueError(f"a map was expected, not {type(stored).__name__}")  # noqa: TRY004 - as pydantic's own
        known = {name: value for name, value in stored.items() if name in cls.model_fields}
        if isinstance(limits := known.get("limits"), dict):
            known["limits"] = {name: value for name, value in limits.items() if name in Limits.model_fields}
        return cls.model_validate(known)


class CellSpec(_Packed):
    """What to run and how, as submitted. only_after: the id of another cell; run only if that cell succeeded."""

    code: str
    timeout: float | None = Field(default=None, gt=0, le=MAX_TIMEOUT_SECONDS)
    on_worker_loss: Literal["retry", "fail"] = "retry"
    max_attempts: int = Field(default=3, ge=1, le=MAX_ATTEMPTS)
    inputs: bytes | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    only_after: str | None = None

    def pack(self) -> bytes:
        """Return the stored form, without fields that have their default value.

        Not made by pydantic, which is slower, because every submit needs it.
        """
        packed: bytes = msgpack.packb(
            {name: value for name, value in self if name == "code" or value != _CELL_DEFAULTS[name]}
        )
        return packed


_CELL_DEFAULTS: Final = {
    name: field.get_default(call_default_factory=True) for name, field in CellSpec.model_fields.items()
}


class Detection(BaseModel):
    """Additions to and exceptions from the lists of blocking calls for a session's cells.

    blocking, not_blocking: up to 1,000 dotted names each, of 200 bytes.
    always: run every cell that doesn't await in this mode, whatever it calls.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    blocking: list[str] = []
    not_blocking: list[str] = []
    always: Literal["blocking_sync", "simple_sync"] | None = None


class SessionOptions(_Packed):
    """Options of a session, set by its first submit. `Session.update` changes labels, idle_seconds and expires_in.

    labels: up to 32 names with short texts, by which `Cluster.sessions` finds the session.
    env: environment variables of its processes, set before the first cell, also after a restore. What cells change in
    them is saved as ever. Only their names are shown; Redis has the values.
    cwd: the directory in which its cells begin, below the session's directory; it is created.
    idle_seconds: after how long without a cell the session hibernates; None: its worker's setting.
    expires_in: seconds without a cell after which the session is closed; None: never.
    requires: up to 32 labels that a worker must have to run the session; without such a worker its cells wait.
    durability: "commit" (an outcome becomes visible only with its checkpoint), "relaxed" (the outcome first, the
    checkpoint within a second, or at the end of the cell that runs then) or "none" (no checkpoints).
    allow_input: whether cells may call input(). input_timeout: seconds to wait for an answer. tla_timeout: seconds that
    a cell which awaits may run. interrupt_grace: seconds between the steps of an interrupt. output_limit: bytes of text
    output of a cell; further output is dropped, and an event reports that.
    limits: what the session may use; see Limits.
    sandbox: the weakest tier of the sandbox in which it may run: "none", "basic", "userns" or "strict". It runs only on
    workers that have this tier or a stronger one; without such a worker its cells wait.
    background_tasks: while a cell blocks, tasks of earlier cells "run" on another thread, or "pause". With "pause",
    objects that belong to a thread (connections of sqlite3, thread-locals) are the same for cells and tasks.
    network: what the session may connect to: "none"; "allow-list" (the operator's hosts and `allowed_hosts`, through
    the worker's proxy) or "host" (everything that the worker's machine can); None: what its worker gives by default.
    allowed_hosts: "example.org", "*.example.org" (ports 80 and 443), "example.org:8443".
    packages: "attrs", "attrs==25.*", installed for this session alone before its first cell; at most 100.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    labels: dict[str, str] = Field(default_factory=dict)
    env: dict[StrictStr, StrictStr] = Field(default_factory=dict, repr=False)
    cwd: str = ""
    idle_seconds: Annotated[float, Field(ge=MIN_IDLE_SECONDS, le=MAX_IDLE_SECONDS)] | None = None
    expires_in: Annotated[float, Field(ge=MIN_EXPIRY_SECONDS, le=MAX_EXPIRY_SECONDS)] | None = None
    requires: dict[str, str] = Field(default_factory=dict)
    allow_input: bool = True
    input_timeout: Annotated[float, Field(gt=0, le=MAX_TIMEOUT_SECONDS)] = 3600.0
    tla_timeout: Annotated[float, Field(gt=0, le=MAX_TIMEOUT_SECONDS)] | None = None
    interrupt_grace: Annotated[float, Field(ge=0.05, le=60)] = 2.0
    output_limit: Annotated[int, Field(ge=1024, le=MAX_OUTPUT_BYTES)] = 64 * 1024 * 1024
    detection: Detection = Detection()
    durability: Literal["commit", "relaxed", "none"] = "commit"
    background_tasks: Literal["run", "pause"] = "run"
    limits: Limits = Limits()
    sandbox: str = Tier.NONE.value
    network: Literal["none", "allow-list", "host"] | None = None
    allowed_hosts: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    if not TYPE_CHECKING:  # type checkers and editors are to see the fields, and not this signature

        def __init__(self, **options: Any) -> None:
            """Check the types. Raises InvalidArgument, which has the field, the value and the limit."""
            try:
                super().__init__(**options)
            except ValidationError as exc:
                raise as_invalid_argument(exc) from None


CHANGEABLE: Final = ("labels", "idle_seconds", "expires_in")  # options that change without a new process


class SessionInfo(BaseModel):
    """A session, as stored in its hash. owner_alive: whether `owner` lives. floor: number of the first event kept.

    limits: those that apply to it: the lower one of its option and the maximum of its owner; without an owner, the
    maximum in this client's own settings.
    sandbox: the weakest tier of the sandbox that it may have. owner_sandbox: the tier that it has; None without a live
    owner. shortage: why its pending cells have no owner, if no live worker meets its requirements; otherwise "".
    network: the one that it asks for, or else its owner's default; None if that is not known because it has no owner.
    allowed_hosts: its own and its owner's; empty unless its network is an allow-list.
    env: the names of the variables that its options set. labels, cwd, idle_seconds, expires_in: see SessionOptions.
    """

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
    limits: Limits = Limits()
    sandbox: str = Tier.NONE.value
    owner_sandbox: str | None = None
    shortage: str = ""
    network: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    env: tuple[str, ...] = ()
    cwd: str = ""
    idle_seconds: float | None = None
    expires_in: float | None = None

    @property
    def pending(self) -> int:
        """The number of cells that were submitted but not committed."""
        return self.seq - self.cursor

    @classmethod
    def from_hash(
        cls,
        session_id: str,
        fields: dict[bytes, bytes],
        *,
        facts: "OwnerFacts | None" = None,
        maxima: Limits | None = None,
    ) -> Self:
        """Return the session of that id from the fields of its hash.

        facts: of its live owner. maxima: of its limits if it has no owner.
        """
        options = SessionOptions.unpack(fields.get(b"options", b""))
        network = options.network or (None if facts is None else facts.network)
        common = () if facts is None else facts.network_hosts
        highest = maxima if facts is None else facts.limits
        owner = fields.get(b"owner", b"").decode()
        created = int(fields.get(b"created_at", 0))
        return cls(
            id=session_id,
            state=SessionState(fields.get(b"state", b"open").decode()),
            owner=owner or None,
            owner_alive=facts is not None,
            epoch=int(fields.get(b"epoch", 0)),
            seq=int(fields.get(b"seq", 0)),
            cursor=int(fields.get(b"cursor", 0)),
            last_event=int(fields.get(b"last", 0)),
            floor=int(fields.get(b"floor", 1)),
            created_at=from_ms(created),
            active_at=from_ms(int(fields.get(b"active_at", created))),
            limits=options.limits if highest is None else options.limits.lowered_to(highest),
            sandbox=options.sandbox,
            owner_sandbox=None if facts is None else facts.sandbox,
            network=network,
            allowed_hosts=(*options.allowed_hosts, *common) if network == "allow-list" else (),
            labels=options.labels,
            env=tuple(sorted(options.env)),
            cwd=options.cwd,
            idle_seconds=options.idle_seconds,
            expires_in=options.expires_in,
        )


class WorkerFacts(_Packed):
    """What a worker reports with each heartbeat. A worker that drains reports a capacity of 0.

    limits: the maxima of the limits of its sessions.
    sandbox: the tier of its sessions. sandbox_blocked_by: why they don't have the next stronger one.
    network: of sessions that ask for none. networks: those that a session may ask for. network_hosts: which all
    sessions with an allow-list may connect to.
    """

    host: str
    pid: int
    version: str
    python: str
    started_at: datetime
    capacity: int
    resident: int
    counters: dict[str, int] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    limits: Limits = Limits()
    sandbox: str = Tier.NONE.value
    sandbox_blocked_by: str = ""
    network: str = "host"
    networks: list[str] = ["host"]
    network_hosts: list[str] = []


class OwnerFacts(_Packed):
    """The part of a worker's facts that concerns its sessions."""

    limits: Limits = Limits()
    sandbox: str = Tier.NONE.value
    network: str = "host"
    network_hosts: list[str] = []


class WorkerInfo(WorkerFacts):
    """A live worker, as stored in its marker."""

    id: str
    heartbeat_at: datetime

    @classmethod
    def from_marker(cls, worker_id: str, facts: bytes, heartbeat_ms: float) -> Self:
        """Return the worker of that id from the facts in its marker."""
        return cls(**dict(WorkerFacts.unpack(facts)), id=worker_id, heartbeat_at=from_ms(heartbeat_ms))


def from_ms(milliseconds: float) -> datetime:
    """Return the UTC time of Redis milliseconds."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
