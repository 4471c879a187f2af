"""The last step of an interrupt or timeout: the process is killed when two grace periods have not ended the cell."""

import asyncio
from collections.abc import Callable
from typing import Final

from skep_shared.states import CellStatus
from skep_workers.host.reporter import CellRun

KILL_MARGIN_SECONDS: Final = 0.25


def kill_seconds(grace_seconds: float) -> float:
    """Return how long after an interrupt a process is killed that has not ended the cell."""
    return 2 * grace_seconds + KILL_MARGIN_SECONDS


class KillTimer:
    """Counts down for the cell that runs."""

    def __init__(self, grace_seconds: float, on_due: Callable[[CellRun, CellStatus], None]) -> None:
        """`on_due` gets the cell that has not ended, and as what it is to end."""
        self._patience_seconds = kill_seconds(grace_seconds)
        self._on_due = on_due
        self.timer: asyncio.TimerHandle | None = None  # while it counts

    def start(self, run: CellRun, after_seconds: float, status: CellStatus) -> None:
        """Count for a cell that the process is to end by itself in so many seconds.

        What was said first holds: whoever interrupts again and again would else put it off for ever.
        """
        loop = asyncio.get_running_loop()
        at = loop.time() + after_seconds + self._patience_seconds
        if self.timer is not None:
            if self.timer.when() <= at:
                return
            self.timer.cancel()
        self.timer = loop.call_at(at, self._on_due, run, status)

    def stop(self) -> None:
        """The cell has ended."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
