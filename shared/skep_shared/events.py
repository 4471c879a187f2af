"""Events: the entries of a session's output stream, as typed objects for readers.

In the stream an event is one field `e`: a msgpack map of `kind`, `cell_id`, `seq`, `attempt`, `epoch`, `at`
(milliseconds, Redis time) and the fields of its kind. Its id and session id are the stream's own. See event_codec.py.

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
    """The fields of every event; those of the cell are None on events of the session."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64", val_json_bytes="base64")

    id: str
    session_id: str
    cell_id: str | None = None
    seq: int | None = None
    attempt: int | None = None
    epoch: int
    at: datetime


class EndedWorkFields(BaseModel):
    """The things that ended with the session's process, each in a few words. notes: failures of its exit handlers."""

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
    """A new process has the state of this checkpoint; `lost` names what could not be restored, with the reason.

    `is_live`: the process was forked from the live process of the session that this session is a fork of.
    """

    kind: Literal["session.restored"] = "session.restored"
    worker_id: str
    python: str
    checkpoint: str
    lost: dict[str, str] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    is_live: bool = False


class CheckpointSaved(BaseEvent):
    """The checkpoint of a cell is saved; reported only if the cell's end was reported before that."""

    kind: Literal["checkpoint.saved"] = "checkpoint.saved"
    checkpoint: str


class CheckpointPartial(BaseEvent):
    """Some variables can't be saved: name -> reason. Reported whenever this set changes."""

    kind: Literal["checkpoint.partial"] = "checkpoint.partial"
    checkpoint: str
    lost: dict[str, str]


class CheckpointFailed(BaseEvent):
    """No checkpoint could be made after cell `after`: until one can be, its effects are in the live process only."""

    kind: Literal["checkpoint.failed"] = "checkpoint.failed"
    after: int
    reason: str


class SessionMoved(BaseEvent):
    """Another worker owns the session from this event on."""

    kind: Literal["session.moved"] = "session.moved"
    worker_id: str
    from_worker_id: str
    reason: str


class SessionHibernated(BaseEvent, EndedWorkFields):
    """The session has no process any more; its next cell starts one from the latest checkpoint.

    A worker that shuts down reports it for sessions in which something ended.
    """

    kind: Literal["session.hibernated"] = "session.hibernated"
    worker_id: str
    reason: str


class SessionRolledBack(BaseEvent, EndedWorkFields):
    """The session's state is that of an earlier checkpoint from this event on."""

    kind: Literal["session.rolled_back"] = "session.rolled_back"
    checkpoint: str
    from_checkpoint: str


class SessionClosedEvent(BaseEvent, EndedWorkFields):
    """The session has ended."""

    kind: Literal["session.closed"] = "session.closed"


class CellQueued(BaseEvent):
    """The cell's turn has come; `at` is the time of its submit."""

    kind: Literal["cell.queued"] = "cell.queued"
    code: str
    labels: dict[str, str] = Field(default_factory=dict)


class CellStarted(BaseEvent):
    """The cell's code has started."""

    kind: Literal["cell.started"] = "cell.started"


class CellRetried(BaseEvent):
    """The cell starts again, which voids the events of its earlier attempt."""

    kind: Literal["cell.retried"] = "cell.retried"
    reason: str


class OutputEvent(BaseEvent):
    """Text that was written to stdout or stderr."""

    kind: Literal["output"] = "output"
    stream: Literal["stdout", "stderr"]
    text: str


class OutputTruncated(BaseEvent):
    """The cell's output has reached its limit; later output was dropped."""

    kind: Literal["output.truncated"] = "output.truncated"
    limit_bytes: int


class OutputCleared(BaseEvent):
    """The cell's output so far is to be hidden, now or (`waits`) at its next output."""

    kind: Literal["output.cleared"] = "output.cleared"
    waits: bool


class DisplayEvent(BaseEvent):
    """A MIME bundle: MIME type -> representation; with `updates` it replaces the earlier display of the same id."""

    kind: Literal["display"] = "display"
    bundle: dict[str, Any]
    display_id: str | None = None
    updates: bool = False


class InputRequested(BaseEvent):
    """The cell waits for a line of input; `session.answer` sends it."""

    kind: Literal["input.requested"] = "input.requested"
    request: int
    prompt: str
    is_password: bool


class InputAnswered(BaseEvent):
    """A client has answered; the text of a password is left out."""

    kind: Literal["input.answered"] = "input.answered"
    request: int
    text: str | None = None


class ResultEvent(BaseEvent):
    """The last expression's value: MIME type -> representation, and for plain data also the encoded value.

    `value` is the value itself if it was sent as data, with lone surrogates in its text escaped; otherwise it is the
    repr, and `value_is_repr` is True.
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
        """Return whether the value was not sent as data: it is too large, too deep, or not of plain types."""
        return self.decoded()[1]

    def decoded(self) -> tuple[Any, bool]:
        """Return `value` and `value_is_repr`."""
        if self.data is not None:
            try:
                value = decode_value(self.data)
                # In UTF-8 all surrogates begin with this byte, and hardly anything else does.
                return (whole_text(value) if b"\xed" in self.data else value), False
            except ValueError:  # not written by one of our workers
                pass
        return self.bundle.get("text/plain"), True


class ErrorEvent(BaseEvent):
    """The exception that ended the cell."""

    kind: Literal["error"] = "error"
    ename: str
    evalue: str
    traceback: str


class WarningEvent(BaseEvent):
    """A warning for the session's users."""

    kind: Literal["warning"] = "warning"
    category: str
    message: str


class CellFinished(BaseEvent):
    """The one terminal event of a cell, written with its commit.

    queued_ms: submit to start. run_ms: the code itself. commit_ms: end of the code to the sending of the commit, spent
    on the checkpoint. checkpoint: the id of the state after the cell, None if none is stored. unsaved: why no
    checkpoint could be made; '' if one was made or none was wanted. stopped_by: the id of the cell in its batch whose
    failure has cancelled this one.
    """

    kind: Literal["cell.finished"] = "cell.finished"
    status: CellStatus
    queued_ms: float
    run_ms: float
    commit_ms: float
    checkpoint: str | None = None
    unsaved: str = ""
    stopped_by: str | None = None


class TrimmedEvent(BaseEvent):
    """Retention has removed the events after `after` and before `floor`. Made by the reader."""

    kind: Literal["events.trimmed"] = "events.trimmed"
    after: str
    floor: str


class ResetEvent(BaseEvent):
    """Redis went back to an earlier state: the events after `last`, up to `seen`, are void. Made by the reader."""

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
    """Return the event for a reader that has seen event `after` and finds `floor` as the next one."""
    event_id = f"{floor - 1}-0"
    return TrimmedEvent(
        id=event_id, session_id=session_id, epoch=0, at=datetime.now(UTC), after=f"{after}-0", floor=f"{floor}-0"
    )


def reset_event(session_id: str, seen: int, last: int) -> ResetEvent:
    """Return the event for a reader that has seen event `seen`, of which only the ones up to `last` are unchanged."""
    event_id = f"{last}-0"
    return ResetEvent(
        id=event_id, session_id=session_id, epoch=0, at=datetime.now(UTC), seen=f"{seen}-0", last=event_id
    )


def event_number(event_id: str | bytes) -> int:
    """Return n of the event id `n-0`."""
    text = event_id.decode() if isinstance(event_id, bytes) else event_id
    return int(text.partition("-")[0])
