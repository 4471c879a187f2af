"""How cells end whose process does not report an end: refused before they run, or lost with their process."""

from dataclasses import dataclass
from typing import Final

from skep_shared.protocol.frames import Failure, Notice
from skep_shared.states import CellStatus
from skep_workers.host.process.listener import ProcessEnd
from skep_workers.host.residency.cells.attempts import SHUT_DOWN
from skep_workers.host.residency.cells.batch_predecessors import BatchFailure
from skep_workers.host.residency.cells.cell_context import CellContext
from skep_workers.host.residency.cells.cell_run import CellRun, why_last
from skep_workers.host.residency.cells.unsaved_cells import UnsavedCells
from skep_workers.host.residency.cells.window import CellWindow


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a cell ends without running. cause: the failure of a cell before it in its batch."""

    status: CellStatus
    ename: str
    evalue: str
    cause: BatchFailure | None = None


LIMIT_EXCEEDED: Final = "limit.exceeded"  # the category of the warning
CANCELLED = Refusal(CellStatus.CANCELLED, "CellCancelled", "the cell was cancelled before it started")


def loss_of(run: CellRun, end: ProcessEnd) -> Refusal:
    """Return how a cell ends that ran when its process ended, or whose process was killed to end it."""
    if run.killed_as is None and end.excess is not None:
        return Refusal(CellStatus.CRASHED, "LimitExceeded", f"the session process was ended: {end.excess}")
    if run.killed_as is None:
        return Refusal(CellStatus.CRASHED, "SessionCrashed", f"the session process ended: {end.cause}")
    if run.killed_as is CellStatus.TIMED_OUT:
        is_own = run.timeout_seconds == run.cell.spec.timeout
        limit = f"its {'timeout' if is_own else 'limit wall_seconds'} of {run.timeout_seconds:g} s"
        return Refusal(run.killed_as, "TimeoutError", f"the cell ran into {limit} and had to be killed")
    if run.killed_as is CellStatus.LOST:
        return Refusal(run.killed_as, "WorkerLost", f"{SHUT_DOWN} before the cell had ended, and {why_last(run)}")
    return Refusal(run.killed_as, "KeyboardInterrupt", "the cell did not end when interrupted; it was killed")


class CellEndings:
    """Ends cells without a report of their process."""

    def __init__(self, context: CellContext, window: CellWindow, unsaved: UnsavedCells) -> None:
        self._window = window
        self._unsaved = unsaved
        self._clock = context.clock
        self._reporter = context.reporter
        self._predecessors = context.intake.predecessors
        self._postponed: dict[int, tuple[CellRun, ProcessEnd]] = {}

    def end(self, run: CellRun, refusal: Refusal) -> None:
        """End a cell without running it, or without a report of its process."""
        ename, evalue = refusal.ename, refusal.evalue
        self._reporter.output(run, Failure(run.cell.seq, run.attempt, ename, evalue, f"{ename}: {evalue}\n"))
        run_ms = self._clock.now_ms() - run.since_ms if run.since_ms else 0.0
        stopped_by = refusal.cause.cell_id if refusal.cause is not None else None
        self._reporter.end(run, refusal.status, run_ms, is_saved=True, stopped_by=stopped_by)
        self._predecessors.record_end(run.cell.cell_id, refusal.status, refusal.cause)
        self._window.record_end(run.cell.seq)
        self._unsaved.record_no_effect(run.cell.seq)

    def end_lost(self, run: CellRun, end: ProcessEnd) -> None:
        """End the cell that ran when its process ended."""
        if end.excess is not None:
            self._reporter.output(run, Notice(run.cell.seq, run.attempt, LIMIT_EXCEEDED, str(end.excess)))
        self.end(run, loss_of(run, end))

    def postpone_lost(self, run: CellRun, end: ProcessEnd) -> None:
        """End the cell that ran when its process ended later: cells before it are to run again first."""
        self._postponed[run.cell.seq] = (run, end)

    def is_postponed(self, seq: int) -> bool:
        """Return whether a cell only has to be ended."""
        return seq in self._postponed

    def end_postponed(self, seq: int) -> None:
        """End a cell whose end was postponed."""
        self.end_lost(*self._postponed.pop(seq))
