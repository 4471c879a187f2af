"""What responses carry, as models for the OpenAPI document, and how they are made from the client's objects."""

import dataclasses
import json
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field, create_model
from starlette.responses import Response

from skep.checkpoints import Checkpoint
from skep.files import FileInfo
from skep.outcome import CellFold, Outcome
from skep_shared.events import Event
from skep_shared.isolation.tenants import TenantQuotas, TenantUse
from skep_shared.json_form import json_form
from skep_shared.models import SessionInfo, WorkerInfo
from skep_shared.states import CellStatus


class FaultAnswer(BaseModel):
    """The exception that ended a cell."""

    ename: str
    evalue: str
    traceback: str


class OutcomeAnswer(BaseModel):
    """How a cell ended. In JSON tuples are lists, bytes base64, NaN and infinities null, and keys text."""

    session_id: str
    cell_id: str
    seq: int
    ok: bool
    status: CellStatus
    attempt: int
    value: Any = Field(description="the last expression's value if it is plain data, otherwise its repr")
    value_is_repr: bool
    result: dict[str, Any] | None = Field(description="MIME type → representation of the last expression's value")
    display: list[dict[str, Any]] = Field(description="the MIME bundles that the cell showed, in order")
    text: str = Field(description="stdout and stderr as written")
    error: FaultAnswer | None
    warnings: list[str]
    checkpoint: str | None = Field(description="the id of the state after the cell")
    queued_ms: float
    run_ms: float
    commit_ms: float
    stopped_by: str | None


class CellAnswer(BaseModel):
    """A cell. seq: its place in the session; null for a deferred cell that was not appended yet.

    due_at: of a deferred cell, when it is appended.
    """

    session_id: str
    cell_id: str
    seq: int | None
    state: Literal["deferred", "pending", "done"]
    due_at: datetime | None
    outcome: OutcomeAnswer | None = Field(description="null until it is done")
    url: str
    events_url: str


class RecordAnswer(BaseModel):
    """A cell of the transcript. status: null if it has not ended."""

    cell_id: str
    code: str
    labels: dict[str, str]
    text: str
    status: CellStatus | None
    outcome: OutcomeAnswer | None


class TranscriptAnswer(BaseModel):
    """One record for each cell, in order."""

    cells: list[RecordAnswer]


class EventsAnswer(BaseModel):
    """A page of events. next: the id after which the next page begins. has_more: whether there are more stored ones."""

    events: list[Event]
    next: str
    has_more: bool


class InterruptedAnswer(BaseModel):
    """Whether there was a cell to interrupt."""

    interrupted: bool


class CancelledAnswer(BaseModel):
    """Whether the cell had not ended; its outcome says whether it was cancelled."""

    cancelled: bool


class AnsweredAnswer(BaseModel):
    """Whether there was a running cell to answer."""

    answered: bool


class CompletionAnswer(BaseModel):
    """Texts that could replace `start` to `end`, in characters. left_out: how many more there are."""

    matches: list[str]
    start: int
    end: int
    left_out: int


class InspectionAnswer(BaseModel):
    """Facts about a name; null where there is none. cut: the fields whose text was truncated."""

    found: bool
    name: str
    type: str | None
    signature: str | None
    doc: str | None
    file: str | None
    source: str | None
    repr: str | None
    cut: list[str]


class VariableAnswer(BaseModel):
    """One of a session's names. bytes: its own memory."""

    name: str
    type: str
    shape: list[int] | None
    length: int | None
    bytes: int | None
    repr: str


class VariablesAnswer(BaseModel):
    """The names that cells have bound."""

    variables: list[VariableAnswer]


class CheckpointAnswer(BaseModel):
    """A saved state. lost: variables that could not be saved, with the reason. bytes: before compression."""

    id: str
    seq: int
    is_head: bool
    names: list[str]
    lost: dict[str, str]
    python: str
    name: str | None
    bytes: int | None


class CheckpointsAnswer(BaseModel):
    """The stored checkpoints, oldest first."""

    checkpoints: list[CheckpointAnswer]


class ForkedAnswer(BaseModel):
    """The new sessions."""

    ids: list[str]


class FileAnswer(BaseModel):
    """A file below the session's directory."""

    path: str
    bytes: int
    modified_at: datetime


class FilesAnswer(BaseModel):
    """The session's files, by path."""

    files: list[FileAnswer]


# A subclass would warn that its field hides a property.
SessionAnswer = create_model(
    "SessionAnswer",
    __doc__="A session. pending: its cells that have not ended.",
    pending=(int, ...),
    **{name: (field.annotation, field) for name, field in SessionInfo.model_fields.items()},  # type: ignore[call-overload]
)


class SessionsAnswer(BaseModel):
    """A page of sessions, oldest first. next: for the parameter `after` of the next page; null after the last one."""

    sessions: list[SessionAnswer]  # type: ignore[valid-type]  # made above
    next: str | None


class WorkersAnswer(BaseModel):
    """The live workers."""

    workers: list[WorkerInfo]


class SessionCounts(BaseModel):
    """Sessions by their state, those in memory, and those with cells that have not ended."""

    open: int
    closing: int
    closed: int
    resident: int
    busy: int


class WorkerCounts(BaseModel):
    """The live workers, how many sessions they can have in memory, and how many they have."""

    live: int
    capacity: int
    resident: int


class RedisMemory(BaseModel):
    """The memory that Redis uses, and its maxmemory; null without one."""

    used_bytes: int
    max_bytes: int | None


class SummaryAnswer(BaseModel):
    """Counts of the token's tenant, or of the whole shard. pending_cells: that wait or run.

    counted_sessions: the oldest ones, which the counts are of; fewer than all if there are very many. workers, redis:
    null for a token of a tenant; redis also if the gateway may not read it.
    """

    total_sessions: int
    counted_sessions: int
    sessions: SessionCounts
    pending_cells: int
    workers: WorkerCounts | None
    redis: RedisMemory | None


class TenantAnswer(BaseModel):
    """A tenant, its quotas, and what it uses of them."""

    tenant: str
    quotas: TenantQuotas
    use: TenantUse


class UsageAnswer(BaseModel):
    """The token's tenant, or all tenants that have quotas for a token of the whole shard."""

    tenants: list[TenantAnswer]


class LinkAnswer(BaseModel):
    """A link that works without a token. url: relative to the gateway."""

    url: str
    method: Literal["GET", "PUT"]
    expires_at: datetime


class WebhookFailureAnswer(BaseModel):
    """An event that was not accepted so far."""

    session_id: str
    event_id: str
    attempts: int
    since: datetime
    next_at: datetime
    reason: str


class WebhookAnswer(BaseModel):
    """A webhook. failures: some of those of its failing sessions."""

    name: str
    url: str
    events: list[str]
    labels: dict[str, str]
    prefix: str
    created_at: datetime
    state: Literal["active", "failing", "disabled"]
    disabled_at: datetime | None
    disabled_because: str
    failing_sessions: int
    failures: list[WebhookFailureAnswer]


class StoredWebhookAnswer(WebhookAnswer):
    """A webhook that was made or replaced. secret: null if it is as before."""

    secret: str | None


class WebhooksAnswer(BaseModel):
    """The tenant's webhooks, by name."""

    webhooks: list[WebhookAnswer]


class HealthAnswer(BaseModel):
    """That the gateway works."""

    status: Literal["ok"]


def json_response(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return plain data as JSON."""
    data = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Response(data, status, headers, "application/json")


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as OutcomeAnswer has it."""
    fields = {field.name: getattr(outcome, field.name) for field in dataclasses.fields(outcome)}
    if outcome.error is not None:
        fields["error"] = dataclasses.asdict(outcome.error)
    shown: dict[str, Any] = json_form(fields | {"status": str(outcome.status), "ok": outcome.ok})
    return shown


def record_json(fold: CellFold) -> dict[str, Any]:
    """Return a cell's record as RecordAnswer has it."""
    outcome = None if fold.finished is None else outcome_json(fold.outcome())
    record: dict[str, Any] = json_form({
        "cell_id": fold.cell_id, "code": fold.code, "labels": fold.labels, "text": fold.text,
        "status": None if fold.finished is None else str(fold.finished.status), "outcome": outcome,
    })  # fmt: skip
    return record


def session_json(info: SessionInfo) -> dict[str, Any]:
    """Return a session as SessionAnswer has it."""
    return info.model_dump(mode="json") | {"pending": info.pending}


def checkpoint_json(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return a checkpoint as CheckpointAnswer has it."""
    shown: dict[str, Any] = json_form(dataclasses.asdict(checkpoint))
    return shown


def file_json(file: FileInfo) -> dict[str, Any]:
    """Return a file as FileAnswer has it."""
    return {"path": json_form(file.path), "bytes": file.bytes, "modified_at": file.modified_at.isoformat()}
