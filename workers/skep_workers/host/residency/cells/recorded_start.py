"""A cell that the process gets only once Redis has the start of this attempt."""

from collections.abc import Sequence

from skep_shared.protocol.frames import Configure, Execute
from skep_workers.host.residency.cells.cell_context import CellContext
from skep_workers.host.residency.cells.cell_run import CellRun
from skep_workers.host.residency.cells.window import CellWindow


class RecordedStart:
    """Withholds the last attempt that a cell may have, until its start is written."""

    def __init__(self, context: CellContext, window: CellWindow) -> None:
        self._window = window
        self._journal, self._reporter = context.journal, context.reporter
        self._frames: list[Configure | Execute] = []
        self._event = 0

    @property
    def is_pending(self) -> bool:
        """Return whether a cell is withheld. Then no other one may be sent."""
        return bool(self._frames)

    def withhold(self, run: CellRun, frames: Sequence[Execute]) -> None:
        """Announce a cell, and send it when the announcement is written."""
        self._frames = [*frames]
        self._reporter.announce(run)
        self._event = self._journal.last_event
        self._journal.flush()

    def send_if_recorded(self) -> None:
        """Send the cell if its announcement is written."""
        process = self._window.process
        if self._frames and process is not None and self._journal.last_written >= self._event:
            frames, self._frames = self._frames, []
            process.execute(frames)

    def discard(self) -> None:
        """Send nothing: the process has ended."""
        self._frames = []
