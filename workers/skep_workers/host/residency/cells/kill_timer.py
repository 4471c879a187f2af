"""The last step of an interrupt or timeout: the process is killed if the cell has not ended after two grace periods."""

import asyncio
from collections.abc import Callable
from typing import Final

from skep_shared.states import CellStatus
from skep_workers.host.residency.cells.cell_run import CellRun

KILL_MARGIN_SECONDS: Final = 0.25


def kill_seconds(grace_seconds: float) -> float:
    """Return how long after an interrupt a process is killed that has not ended the cell."""
    return 2 * grace_seconds + KILL_MARGIN_SECONDS


class KillTimer:
    """Counts down for the running cell."""

    def __init__(self, grace_seconds: float, on_due: Callable[[CellRun, CellStatus], None]) -> None:
        """`on_due` gets the cell that has not ended, and the status that it is to end with."""
        self._patience_seconds = kill_seconds(grace_seconds)
        self._on_due = on_due
        self.timer: asyncio.TimerHandle | None = None  # while it counts

    def start(self, run: CellRun, after_seconds: float, status: CellStatus) -> None:
        """Count down for a cell that the process itself should end after this time.

        The earliest deadline wins; otherwise repeated interrupts could postpone the kill forever.
        """
        loop = asyncio.get_running_loop()
        at = loop.time() + after_seconds + self._patience_seconds
        if self.timer is not None:
            if self.timer.when() <= at:
                return
            self.timer.cancel()
        self.timer = loop.call_at(at, self._on_due, run, status)

    def stop(self) -> None:
        """Stop counting: the cell has ended."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
