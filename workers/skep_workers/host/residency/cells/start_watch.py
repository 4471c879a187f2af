"""Notices that a process is stuck before its next cell, in a step of the engine that never ends.

A cell whose wait for its checkpoint was ended by its limit has committed without it, and with durability "relaxed" a
cell doesn't wait at all. Then nothing else notices that the process is still saving, and the cell that it was sent
would never begin. So for as long as the process shows no other sign, it is checked whether it has begun
the cell that is to run.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from skep_workers.host.residency.cells.cell_run import CellRun
from skep_workers.host.residency.cells.window import CellWindow


class StartWatch:
    """Checks the running cell of one session: `first_seconds` after `begin`, then every `seconds`."""

    def __init__(
        self, window: CellWindow, first_seconds: float, seconds: float, on_stuck: Callable[[str], None]
    ) -> None:
        """`on_stuck` gets the reason; it is called when two checks in a row find the same cell not begun."""
        self._window = window
        self._first_seconds: Final = first_seconds
        self._seconds: Final = seconds
        self._on_stuck = on_stuck
        self._timer: asyncio.TimerHandle | None = None
        self._not_begun: CellRun | None = None  # as the last check found it

    def begin(self) -> None:
        """Begin to check, unless that has begun: the process may be saving its state, and no cell waits for that."""
        if self._timer is None:
            self._wait(self._first_seconds)

    def stop(self) -> None:
        """Stop checking: the process has shown a sign, or has ended."""
        self._not_begun = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._check)

    def _check(self) -> None:
        self._timer = None
        head, process, before = self._window.head, self._window.process, self._not_begun
        self._not_begun = None
        if process is None or (head is not None and process.has_begun(head.cell.seq)):
            return
        if head is not None and head is before:
            head.was_not_begun = True
            self._on_stuck(f"the session process has not begun cell {head.cell.seq}: it is stuck in saving its state")
            return
        self._not_begun = head
        self._wait(self._seconds)
