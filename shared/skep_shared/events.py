"""Events: the entries of a session's output stream, as typed objects for readers.

In the stream an event is one field `e`: a msgpack map of `kind`, `cell_id`, `seq`, `attempt`, `epoch`, `at`
(milliseconds, Redis time) and what its kind adds. Its id and session id are the stream's own. See event_codec.py.

Every event dumps to JSON, with `model_dump_json()` as with `model_dump(mode="json")`: bytes as URL-safe base64, NaN and
infinities as null. Text has no lone surrogates: they are escaped where they enter, see frame_codec.py.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, computed_field

from skep_shared.json_form import json_form, whole_text
from skep_shared.states import CellStatus
from skep_shared.values import decode_value


class BaseEvent(BaseModel):
    """What every event has; the cell's fields are None on events of the session."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64", val_json_bytes="base64")

    id: str
    session_id: str
    cell_id: str | None = None
    seq: int | None = None
    attempt: int | None = None
    epoch: int
    at: datetime


class ProcessEnd(BaseModel):
    """What ended with the session's process, each in a few words. notes: what went wrong in its exit handlers."""

    tasks: list[str] = Field(default_factory=list)
    threads: list[str] = Field(default_factory=list)
    children: list[str] = Field(default_factory=list)
    connections: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)


class SessionStarted(BaseEvent):
    """A process with an empty namespace has been started for the session."""

    kind: Literal["session.started"] = "session.started"
    worker_id: str
    python: str


class SessionRestored(BaseEvent):
    """A new process has the state of this checkpoint; `lost` names what could not be brought back, and why.

    `is_live`: it was forked from the live process of the session that this one is a fork of.
    """

    kind: Literal["session.restored"] = "session.restored"
    worker_id: str
    python: str
    checkpoint: str
    lost: dict[str, str] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    is_live: bool = False


class CheckpointSaved(BaseEvent):
    """The state after cell `checkpoint` is saved; told where the cell's end could not tell it: it came before that."""

    kind: Literal["checkpoint.saved"] = "checkpoint.saved"
    checkpoint: str


class CheckpointPartial(BaseEvent):
    """Some variables can't be saved: name -> why. Told when what can't be saved changes."""

    kind: Literal["checkpoint.partial"] = "checkpoint.partial"
    checkpoint: str
    lost: dict[str, str]


class CheckpointFailed(BaseEvent):
    """No checkpoint could be made after cell `after`, whose effects are in the live process alone until one is."""

    kind: Literal["checkpoint.failed"] = "checkpoint.failed"
    after: int
    reason: str


class SessionMoved(BaseEvent):
    """Another worker owns the session from here on."""

    kind: Literal["session.moved"] = "session.moved"
    worker_id: str
    from_worker_id: str
    reason: str


class SessionHibernated(BaseEvent, ProcessEnd):
    """The session has no process any more; its next cell starts one from the latest checkpoint.

    A worker that stops tells it of the sessions in which something ended.
    """

    kind: Literal["session.hibernated"] = "session.hibernated"
    worker_id: str
    reason: str


class SessionRolledBack(BaseEvent, ProcessEnd):
    """The session's state is that of an earlier checkpoint from here on."""

    kind: Literal["session.rolled_back"] = "session.rolled_back"
    checkpoint: str
    from_checkpoint: str


class SessionClosedEvent(BaseEvent, ProcessEnd):
    """The session has ended."""

    kind: Literal["session.closed"] = "session.closed"


class CellQueued(BaseEvent):
    """The cell as submitted; `at` is when it was."""

    kind: Literal["cell.queued"] = "cell.queued"
    code: str
    labels: dict[str, str] = Field(default_factory=dict)


class CellStarted(BaseEvent):
    """The cell's code has started."""

    kind: Literal["cell.started"] = "cell.started"


class CellRetried(BaseEvent):
    """The cell starts again; this voids the earlier attempt's events."""

    kind: Literal["cell.retried"] = "cell.retried"
    reason: str


class OutputEvent(BaseEvent):
    """Text that was written."""

    kind: Literal["output"] = "output"
    stream: Literal["stdout", "stderr"]
    text: str


class OutputTruncated(BaseEvent):
    """The cell's output has reached its limit; what followed of it was dropped."""

    kind: Literal["output.truncated"] = "output.truncated"
    limit_bytes: int


class OutputCleared(BaseEvent):
    """What the cell put out so far is to be hidden, now or (`waits`) when more comes."""

    kind: Literal["output.cleared"] = "output.cleared"
    waits: bool


class DisplayEvent(BaseEvent):
    """A MIME bundle: MIME type -> representation; one that `updates` replaces the earlier one of the same id."""

    kind: Literal["display"] = "display"
    bundle: dict[str, Any]
    display_id: str | None = None
    updates: bool = False


class InputRequested(BaseEvent):
    """The cell waits for a line; `session.answer` gives it."""

    kind: Literal["input.requested"] = "input.requested"
    request: int
    prompt: str
    is_password: bool


class InputAnswered(BaseEvent):
    """Somebody answered; a password isn't told."""

    kind: Literal["input.answered"] = "input.answered"
    request: int
    text: str | None = None


class ResultEvent(BaseEvent):
    """The last expression's value: MIME type -> representation, and the encoded value where it travels as data.

    `value` is the value itself where it travelled as data, lone surrogates in its text escaped; else its repr, which
    `value_is_repr` tells.
    """

    kind: Literal["result"] = "result"
    bundle: dict[str, Any]
    data: bytes | None = None

    @computed_field(repr=False)  # type: ignore[prop-decorator]  # pydantic's own way
    @property
    def value(self) -> Annotated[Any, PlainSerializer(json_form, when_used="json")]:
        """Return the value, or its text/plain. In JSON tuples are lists, bytes base64, and keys text."""
        return self.decoded()[0]

    @computed_field(repr=False)  # type: ignore[prop-decorator]
    @property
    def value_is_repr(self) -> bool:
        """Return whether the value did not travel as data: it is too large, too deep, or not of plain types."""
        return self.decoded()[1]

    def decoded(self) -> tuple[Any, bool]:
        """Return `value` and `value_is_repr`."""
        if self.data is not None:
            try:
                value = decode_value(self.data)
                # All surrogates begin with this byte in UTF-8, and next to nothing else does.
                return (whole_text(value) if b"\xed" in self.data else value), False
            except ValueError:  # no worker of ours wrote it
                pass
        return self.bundle.get("text/plain"), True


class ErrorEvent(BaseEvent):
    """The exception that ended the cell."""

    kind: Literal["error"] = "error"
    ename: str
    evalue: str
    traceback: str


class WarningEvent(BaseEvent):
    """Something the session's users should know."""

    kind: Literal["warning"] = "warning"
    category: str
    message: str


class CellFinished(BaseEvent):
    """The one terminal event of a cell, written with its commit.

    queued_ms: submit to start. run_ms: the code itself. commit_ms: end of the code to the sending of the commit, which
    is what its checkpoint took. checkpoint: the id of the state after it, None if none is kept. unsaved: why none could
    be made, '' where one was, or none is wanted.
    """

    kind: Literal["cell.finished"] = "cell.finished"
    status: CellStatus
    queued_ms: float
    run_ms: float
    commit_ms: float
    checkpoint: str | None = None
    unsaved: str = ""


class TrimmedEvent(BaseEvent):
    """Events behind `after` and before `floor` are gone: retention has removed them. Made by the reader."""

    kind: Literal["events.trimmed"] = "events.trimmed"
    after: str
    floor: str


class ResetEvent(BaseEvent):
    """Redis went back: what was seen behind `last`, up to `seen`, is void. Made by the reader, which goes on there."""

    kind: Literal["events.reset"] = "events.reset"
    seen: str
    last: str


Event = Annotated[
    SessionStarted
    | SessionRestored
    | SessionHibernated
    | SessionRolledBack
    | SessionMoved
    | CheckpointSaved
    | CheckpointPartial
    | CheckpointFailed
    | SessionClosedEvent
    | CellQueued
    | CellStarted
    | CellRetried
    | OutputEvent
    | OutputTruncated
    | OutputCleared
    | DisplayEvent
    | InputRequested
    | InputAnswered
    | ResultEvent
    | ErrorEvent
    | WarningEvent
    | CellFinished
    | TrimmedEvent
    | ResetEvent,
    Field(discriminator="kind"),
]


def trimmed_event(session_id: str, after: int, floor: int) -> TrimmedEvent:
    """Give what a reader that has seen event `after` is told if the next one there is `floor`."""
    event_id = f"{floor - 1}-0"
    return TrimmedEvent(
        id=event_id, session_id=session_id, epoch=0, at=datetime.now(UTC), after=f"{after}-0", floor=f"{floor}-0"
    )


def reset_event(session_id: str, seen: int, last: int) -> ResetEvent:
    """Give what a reader that has seen event `seen` is told if only those up to `last` are as they were."""
    event_id = f"{last}-0"
    return ResetEvent(
        id=event_id, session_id=session_id, epoch=0, at=datetime.now(UTC), seen=f"{seen}-0", last=event_id
    )


def event_number(event_id: str | bytes) -> int:
    """Give n of the event id `n-0`."""
    text = event_id.decode() if isinstance(event_id, bytes) else event_id
    return int(text.partition("-")[0])
