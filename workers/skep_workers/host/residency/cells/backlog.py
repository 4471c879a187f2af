"""Stops reading the output of a process while too much of it is not written."""

from typing import Final

from skep_workers.host.residency.cells.cell_context import CellContext
from skep_workers.host.residency.cells.window import CellWindow


class OutputBacklog:
    """Pauses the process that fills the journal, and resumes it when half of the limit is free again."""

    def __init__(self, context: CellContext, window: CellWindow) -> None:
        self._window = window
        self._journal = context.journal
        self._is_paused = False
        self.limit_bytes: Final = context.settings.backlog_bytes

    def pause(self) -> None:
        """Read no more output for now."""
        if self._window.process is not None:
            self._is_paused = True
            self._window.process.pause_reading()

    def resume_if_written(self) -> None:
        """Read output again if enough of it is written."""
        if self._is_paused and self._journal.unwritten_bytes <= self.limit_bytes // 2:
            self._is_paused = False
            if self._window.process is not None:
                self._window.process.resume_reading()

    def reset(self) -> None:
        """Start with a new process, which is not paused."""
        self._is_paused = False
