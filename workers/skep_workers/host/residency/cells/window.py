"""The cells that are with a session's process: up to a window of them, the first one running.

The process runs them one after the other, so host and process agree on which one runs without a message: it is the
first one that has not ended.
"""

from collections import deque
from collections.abc import Iterator

from skep_workers.host.process.process import SessionProcess
from skep_workers.host.residency.cells.cell_run import CellRun


class CellWindow:
    """The cells that a process was sent and that have not ended.

    process: the one that may be sent cells: it is configured and has the session's state.
    """

    def __init__(self, cursor: int) -> None:
        self._runs: deque[CellRun] = deque()
        self.process: SessionProcess | None = None
        self.next_seq = cursor + 1  # the first cell that has not ended
        self.started_seq = cursor  # the last cell that has been the running one

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[CellRun]:
        return iter(self._runs)

    @property
    def head(self) -> CellRun | None:
        """The running cell."""
        return self._runs[0] if self._runs else None

    def find(self, seq: int) -> CellRun | None:
        """Return the run of a cell that is with the process, None if it is not."""
        return next((run for run in self._runs if run.cell.seq == seq), None)

    def has_cell(self, cell_id: str) -> bool:
        """Return whether the cell with this id is with the process."""
        return any(run.cell.cell_id == cell_id for run in self._runs)

    def attach(self, process: SessionProcess) -> None:
        """Use this process for the next cells."""
        self.process = process

    def detach(self) -> None:
        """Send no more cells to the process: it has ended."""
        self.process = None

    def add(self, run: CellRun) -> None:
        """Add a cell that is sent to the process."""
        self._runs.append(run)

    def record_start(self, seq: int) -> None:
        """Record that a cell is the running one now."""
        self.started_seq = max(self.started_seq, seq)

    def remove_head(self) -> CellRun:
        """Remove and return the running cell, which has ended."""
        run = self._runs.popleft()
        self.next_seq = run.cell.seq + 1
        return run

    def record_end(self, seq: int) -> None:
        """Record that a cell has ended without being with the process."""
        self.next_seq = seq + 1

    def rewind(self, seq: int) -> None:
        """Record that a cell which had ended is to run again."""
        self.next_seq = min(self.next_seq, seq)

    def remove_all(self) -> deque[CellRun]:
        """Remove and return all cells: their process has ended."""
        runs, self._runs = self._runs, deque()
        return runs
