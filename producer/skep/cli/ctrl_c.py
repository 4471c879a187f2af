"""Ctrl-C while a cell runs: the first one ends the cell, the second one leaves at once."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from skep.cell import Cell
from skep.cli.screen import Screen
from skep_shared.errors import SkepError


class CtrlC:
    """Presses of Ctrl-C, for the task that made it; `cell` is what they are about."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._task = asyncio.current_task()
        self._asking: asyncio.Task[None] | None = None
        self._is_leaving = False
        self.was_pressed = False
        self.cell: Cell | None = None
        self.cell_has_started = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Take SIGINT over inside the block; SIGTERM and SIGHUP leave at once, tidily."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._on_press)
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._leave)
        try:
            yield
        finally:
            self._is_leaving = True  # the handlers stay: what is being cleaned up must not be cut short

    def begin(self, cell: Cell) -> None:
        """From now on it is about this cell."""
        self.cell, self.cell_has_started = cell, False

    def _on_press(self) -> None:
        if self._is_leaving:
            return
        self._screen.typed(ended=False)
        is_first, self.was_pressed = not self.was_pressed, True
        if is_first and self.cell is not None:
            self._asking = asyncio.get_running_loop().create_task(self._interrupt(self.cell), name="interrupt")
        else:
            self._leave()

    async def _interrupt(self, cell: Cell) -> None:
        if self._screen.is_live:
            self._screen.note("interrupting the cell; Ctrl-C again leaves at once", "yellow")
        try:
            was_taken = await cell.interrupt()
        except SkepError:
            was_taken = False
        if not was_taken and not self.cell_has_started:
            self._screen.note("skep: the cell has not started; it stays in the queue", "yellow")
            self._leave()

    def _leave(self) -> None:
        if self._is_leaving:
            return
        self._is_leaving = True
        self._screen.idle()
        self._screen.end_line()
        if self._task is not None:
            self._task.cancel()
