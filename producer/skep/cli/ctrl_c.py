"""Ctrl-C while a cell runs: the first one ends the cell, the second one leaves at once."""

import asyncio
import signal
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Final

from skep.cell import Cell
from skep.cli.output.screen import Screen
from skep_shared.errors import SkepError

END_SECONDS: Final = 2.0  # that an interrupted cell may take to end before it counts as not started


class CtrlC:
    """Handles Ctrl-C for the task that created it."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._task = asyncio.current_task()
        self._asking: asyncio.Task[None] | None = None
        self._is_leaving = False
        self._cell: asyncio.Future[Cell] | None = None  # pending until Redis has replied; None before the first cell
        self.was_pressed = False
        self.cell_has_started = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Handle SIGINT inside the block; SIGTERM and SIGHUP cancel the task, which then cleans up."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._on_press)
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._leave)
        try:
            yield
        finally:
            self._is_leaving = True  # the handlers remain: the cleanup must not be interrupted

    async def submit(self, submission: Awaitable[Cell]) -> Cell:
        """Return the cell of this submission, which Ctrl-C interrupts from now on.

        Ctrl-C before the reply is kept for the cell: Redis may have it already.
        """
        self._cell, self.cell_has_started = asyncio.get_running_loop().create_future(), False
        cell = await submission
        self._cell.set_result(cell)
        return cell

    def _on_press(self) -> None:
        if self._is_leaving:
            return
        self._screen.typed(ended=False)
        is_first, self.was_pressed = not self.was_pressed, True
        if is_first and self._cell is not None:
            self._asking = asyncio.get_running_loop().create_task(self._interrupt(self._cell), name="interrupt")
        else:
            self._leave()

    async def _interrupt(self, submitted: asyncio.Future[Cell]) -> None:
        if self._screen.is_terminal:
            self._screen.note("interrupting the cell; Ctrl-C again leaves at once", "yellow")
        try:
            async with asyncio.timeout(END_SECONDS):
                cell = await asyncio.shield(submitted)
        except TimeoutError:
            self._screen.note("skep: Redis does not reply; the cell may be in the queue", "yellow")
            self._leave()
            return
        try:
            was_taken = await cell.interrupt()
        except SkepError:
            was_taken = False
        if was_taken:
            await asyncio.sleep(END_SECONDS)  # a worker that has the session ends the cell long before
        if not self.cell_has_started and not self._is_leaving:
            end = "it ends as interrupted when its turn comes" if was_taken else "it remains in the queue"
            self._screen.note(f"skep: the cell has not started; {end}", "yellow")
            self._leave()

    def _leave(self) -> None:
        if self._is_leaving:
            return
        self._is_leaving = True
        self._screen.idle()
        self._screen.end_line()
        if self._task is not None:
            self._task.cancel()
