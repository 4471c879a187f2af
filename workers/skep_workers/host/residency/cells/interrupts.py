"""Interrupts and cancellations of a session's cells, and the kill of a process that does not heed one."""

from collections.abc import Iterable

from skep_shared.protocol.frames import Interrupt, Withdraw
from skep_shared.states import CellStatus
from skep_workers.host.residency.cells.cell_run import CellRun
from skep_workers.host.residency.cells.kill_timer import KillTimer
from skep_workers.host.residency.cells.unsaved_cells import UnsavedCells
from skep_workers.host.residency.cells.window import CellWindow


class CellInterrupts:
    """Ends cells before they end by themselves; what is asked for a later cell is remembered until it starts."""

    def __init__(self, grace_seconds: float, window: CellWindow, unsaved: UnsavedCells) -> None:
        self._window = window
        self._unsaved = unsaved
        self._interrupted: set[int] = set()
        self._cancelled: set[int] = set()
        self._kill_timer = KillTimer(grace_seconds, self._kill_for)

    def interrupt(self, seq: int) -> None:
        """End one cell (0: the running one), now or when it starts; one that has ended is left alone."""
        window = self._window
        if seq == 0:
            seq = window.head.cell.seq if window.head is not None else window.next_seq - 1
        if seq < window.next_seq:
            if seq in self._unsaved:
                self._unsaved.interrupt()
            return
        run = window.find(seq)
        if run is not None:
            self._send(run)
        else:
            self._interrupted.add(seq)

    def cancel(self, seq: int) -> None:
        """Cancel a cell that has not started; one that has is left alone."""
        window = self._window
        if seq < window.next_seq or (window.head is not None and window.head.cell.seq == seq):
            return
        run = window.find(seq)
        if run is not None and window.process is not None:
            window.process.control(Withdraw(seq, run.attempt))
        else:
            self._cancelled.add(seq)

    @property
    def has_cancellations(self) -> bool:
        """Return whether any cell that is still to start is cancelled."""
        return bool(self._cancelled)

    def is_cancelled(self, seq: int) -> bool:
        """Return whether a cell was cancelled before it started."""
        return seq in self._cancelled

    def forget_cancellation(self, seq: int) -> None:
        """Forget that a cell was cancelled: it has ended."""
        self._cancelled.discard(seq)

    def cell_sent(self, run: CellRun) -> None:
        """Interrupt a cell that was just sent to the process, if that was asked for before."""
        if run.cell.seq in self._interrupted:
            self._interrupted.discard(run.cell.seq)
            self._send(run)

    def cell_started(self, run: CellRun) -> None:
        """Count down for a cell that runs now, if it is interrupted or has a timeout."""
        if run.is_interrupted:
            self._kill_timer.start(run, 0.0, CellStatus.INTERRUPTED)
        elif run.timeout_seconds is not None:
            self._kill_timer.start(run, run.timeout_seconds, CellStatus.TIMED_OUT)

    def cell_ended(self, run: CellRun, status: str) -> None:
        """If an interrupt did not end the cell's code, apply it to the saving of the cell."""
        if run.is_interrupted and status != CellStatus.INTERRUPTED:
            self._unsaved.interrupt()

    def cells_returned(self, runs: Iterable[CellRun]) -> None:
        """Remember the interrupts of cells that return to the queue: the process that had them has ended."""
        self._interrupted.update(run.cell.seq for run in runs if run.is_interrupted)

    def stop_timer(self) -> None:
        """Stop counting: the running cell has ended."""
        if self._kill_timer.timer is not None:
            self._kill_timer.stop()

    def _send(self, run: CellRun) -> None:
        process = self._window.process
        if process is None:
            return
        run.is_interrupted = True
        process.control(Interrupt(run.cell.seq, run.attempt))
        if run is self._window.head:
            self._kill_timer.start(run, 0.0, CellStatus.INTERRUPTED)

    def _kill_for(self, run: CellRun, status: CellStatus) -> None:
        if run is self._window.head and self._window.process is not None:
            run.killed_as = status
            self._window.process.kill()
