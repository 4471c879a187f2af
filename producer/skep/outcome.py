"""What came of a cell, folded from its events: one place for live replies, late look-ups and transcripts."""

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

_PUT_OUT: Final = (OutputEvent, DisplayEvent, ResultEvent, ErrorEvent)  # what a clearing that waits is done for
NO_PART_OF_OUTCOMES: Final = frozenset({"cell.queued", "cell.started"})  # kinds that say nothing of how a cell ended


@dataclass(frozen=True, slots=True)
class CellFault:
    """The exception that ended a cell."""

    ename: str
    evalue: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a cell ended and what it gave.

    value: the last expression's value if it is plain data, else its repr (`value_is_repr`); None if there was none. A
    NumPy scalar is a number. warnings name a limit that the value was over.
    result: its MIME bundle. display: the bundles of display(), in order, as the cell has updated them; what later cells
    update is in `session.transcript()`. text: stdout and stderr as written. What `clear_output()` hid is in neither.
    checkpoint: the id of the state after it; None if none is kept, or none could be made, which `warnings` tells.
    queued_ms: submit to start. run_ms: the code itself. commit_ms: the end of the code to the sending of the commit.
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

    @property
    def ok(self) -> bool:
        """Tell whether the code ran to its end."""
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
    """Takes one cell's events in order; `cell.retried` voids what the earlier attempt said.

    What the cell has cleared is dropped, but for its warnings.
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

    def take(self, event: Event) -> None:
        """Take the next event of this cell."""
        if self._clears_next and isinstance(event, _PUT_OUT) and not getattr(event, "updates", False):
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
        """Take a display in its place, or into the place of the one it updates."""
        if event.updates:
            self.update(event)
        else:
            self._displays.append(event)

    def update(self, event: DisplayEvent) -> None:
        """Take an update, which may be another cell's, of what was shown under its id before."""
        for place, shown in enumerate(self._displays):
            if shown.display_id == event.display_id and event_number(shown.id) < event_number(event.id):
                self._displays[place] = event

    @property
    def display_ids(self) -> set[str]:
        """The ids under which something is shown."""
        return {shown.display_id for shown in self._displays if shown.display_id is not None}

    @property
    def text(self) -> str:
        """What has been written so far, in the attempt that counts."""
        return "".join(self._texts)

    def outcome(self) -> Outcome:
        """Give the outcome; only after `cell.finished`."""
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
        )


def fold_outcome(session_id: str, cell_id: str, events: Iterable[Event]) -> Outcome:
    """Give the outcome from a finished cell's events; those of other cells among them are passed over."""
    fold = CellFold(session_id, cell_id)
    for event in events:
        if event.cell_id == cell_id:
            fold.take(event)
    return fold.outcome()
