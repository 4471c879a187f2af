"""A cell's outcome, folded from its events: for live replies, late look-ups and transcripts alike."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from skep_shared.errors import (
    CellCancelled,
    CellError,
    CellFailed,
    CellInterrupted,
    CellLost,
    CellTimedOut,
    SessionCrashed,
)
from skep_shared.events import (
    CellFinished,
    CellQueued,
    CellRetried,
    DisplayEvent,
    ErrorEvent,
    Event,
    OutputCleared,
    OutputEvent,
    OutputTruncated,
    ResultEvent,
    WarningEvent,
    event_number,
)
from skep_shared.states import CellStatus

_ERROR_CLASSES: Final[dict[CellStatus, type[CellError]]] = {
    CellStatus.FAILED: CellFailed,
    CellStatus.INTERRUPTED: CellInterrupted,
    CellStatus.TIMED_OUT: CellTimedOut,
    CellStatus.CRASHED: SessionCrashed,
    CellStatus.LOST: CellLost,
    CellStatus.CANCELLED: CellCancelled,
}

# Before the next one of these `clear_output(wait=True)` clears.
_VISIBLE: Final = (OutputEvent, DisplayEvent, ResultEvent, ErrorEvent)
NO_PART_OF_OUTCOMES: Final = frozenset({"cell.queued", "cell.started"})  # kinds that don't affect an outcome


@dataclass(frozen=True, slots=True)
class CellFault:
    """The exception that ended a cell."""

    ename: str
    evalue: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a cell ended, and its results.

    value: the last expression's value if it is plain data, otherwise its repr (`value_is_repr`); None without one. A
    NumPy scalar is a number. warnings: among others, the limits that the value exceeded.
    result: its MIME bundle. display: the bundles of display(), in order, with the cell's own updates; updates by later
    cells are in `session.transcript()`. text: stdout and stderr as written. Neither has what `clear_output()` removed.
    checkpoint: the id of the state after the cell; None if none is stored, or none could be made (see `warnings`).
    queued_ms: submit to start. run_ms: the code itself. commit_ms: the end of the code to the sending of the commit.
    stopped_by: the id of the cell in its batch whose failure has cancelled this one (`stop_on_error`).
    """

    session_id: str
    cell_id: str
    seq: int
    status: CellStatus
    attempt: int
    value: Any = None
    result: dict[str, Any] | None = None
    display: tuple[dict[str, Any], ...] = ()
    text: str = ""
    error: CellFault | None = None
    warnings: tuple[str, ...] = ()
    checkpoint: str | None = None
    queued_ms: float = 0.0
    run_ms: float = 0.0
    commit_ms: float = 0.0
    value_is_repr: bool = False
    stopped_by: str | None = None

    @property
    def ok(self) -> bool:
        """Return whether the code ran to its end."""
        return self.status is CellStatus.FINISHED

    def raise_for_status(self) -> None:
        """Raise CellFailed, CellInterrupted, CellTimedOut, CellCancelled, CellLost or SessionCrashed unless ok."""
        if self.ok:
            return
        fault = self.error or CellFault("", "", "")
        kind = _ERROR_CLASSES[self.status]
        raise kind(self.session_id, self.cell_id, str(self.status), fault.ename, fault.evalue, fault.traceback)


@dataclass(slots=True)
class CellFold:
    """Collects one cell's events, in order; `cell.retried` voids the results of the earlier attempt.

    Cleared output is dropped, except warnings.
    """

    session_id: str
    cell_id: str
    code: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    finished: CellFinished | None = None
    _texts: list[str] = field(default_factory=list)
    _warnings: list[str] = field(default_factory=list)
    _displays: list[DisplayEvent] = field(default_factory=list)
    _result: ResultEvent | None = None
    _error: ErrorEvent | None = None
    _clears_next: bool = False

    def add(self, event: Event) -> None:
        """Add the next event of this cell."""
        if self._clears_next and isinstance(event, _VISIBLE) and not getattr(event, "updates", False):
            self._clear()
        match event:
            case OutputCleared():
                self._clears_next = event.waits
                if not event.waits:
                    self._clear()
            case OutputEvent():
                self._texts.append(event.text)
            case ResultEvent():
                self._result = event
            case DisplayEvent():
                self._show(event)
            case ErrorEvent():
                self._error = event
            case OutputTruncated():
                self._warnings.append(f"output was cut at {event.limit_bytes} bytes")
            case WarningEvent():
                self._warnings.append(event.message)
            case CellQueued():
                self.code, self.labels = event.code, event.labels
            case CellRetried():
                self._clear()
                self._warnings, self._error = [], None
            case CellFinished():
                self.finished = event
                if event.unsaved:
                    self._warnings.append(f"no checkpoint could be made: {event.unsaved}")
            case _:
                pass

    def _clear(self) -> None:
        self._texts, self._displays, self._result, self._clears_next = [], [], None, False

    def _show(self, event: DisplayEvent) -> None:
        """Append a display, or replace the displays that it updates."""
        if event.updates:
            self.update(event)
        else:
            self._displays.append(event)

    def update(self, event: DisplayEvent) -> None:
        """Replace the displays that were shown earlier under this id; the update may come from another cell."""
        for place, shown in enumerate(self._displays):
            if shown.display_id == event.display_id and event_number(shown.id) < event_number(event.id):
                self._displays[place] = event

    @property
    def display_ids(self) -> set[str]:
        """The display ids of the cell's displays."""
        return {shown.display_id for shown in self._displays if shown.display_id is not None}

    @property
    def text(self) -> str:
        """The text written so far by the latest attempt."""
        return "".join(self._texts)

    def outcome(self) -> Outcome:
        """Return the outcome; only after `cell.finished`."""
        end = self.finished
        if end is None or end.seq is None:
            raise ValueError(f"cell {self.cell_id!r} has not finished")
        result = self._result
        value, is_repr = result.decoded() if result is not None else (None, False)
        error = self._error
        return Outcome(
            session_id=self.session_id,
            cell_id=self.cell_id,
            seq=end.seq,
            status=end.status,
            attempt=end.attempt or 1,
            value=value,
            result=result.bundle if result is not None else None,
            display=tuple(event.bundle for event in self._displays),
            text=self.text,
            error=CellFault(error.ename, error.evalue, error.traceback) if error is not None else None,
            warnings=tuple(self._warnings),
            checkpoint=end.checkpoint,
            queued_ms=end.queued_ms,
            run_ms=end.run_ms,
            commit_ms=end.commit_ms,
            value_is_repr=is_repr,
            stopped_by=end.stopped_by,
        )


def fold_outcome(session_id: str, cell_id: str, events: Iterable[Event]) -> Outcome:
    """Return the outcome from a finished cell's events; events of other cells among them are ignored."""
    fold = CellFold(session_id, cell_id)
    for event in events:
        if event.cell_id == cell_id:
            fold.add(event)
    return fold.outcome()
