"""Ending the running cell from outside: the exception must reach user code, and only user code.

A request names a cell's seq and attempt; one that comes late finds another cell, or none, and does nothing. The
protocol thread sends SIGINT to the main thread, which also cuts blocking system calls short; the handler, in the main
thread, decides: code that runs gets KeyboardInterrupt where it stands, a cell that awaits has its task cancelled.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

from skep_workers.session.link import NOBODY, Writer


class Shield:
    """A part of the engine inside user code that must not be cut in two, as a context manager.

    Only the main thread is interrupted, so only there it counts; other threads pass through.
    """

    def __init__(self) -> None:
        self._main_thread: Final = threading.main_thread().ident
        self._depth = 0
        self._on_exit: Callable[[], None] | None = None

    def defer(self, action: Callable[[], None]) -> bool:
        """Tell whether the main thread is inside; if so, `action` runs when it leaves."""
        if self._depth:
            self._on_exit = action
            return True
        return False

    def __enter__(self) -> None:
        if threading.get_ident() == self._main_thread:
            self._depth += 1

    def __exit__(self, *exc_info: object) -> None:
        if threading.get_ident() != self._main_thread:
            return
        self._depth -= 1
        if not self._depth and self._on_exit is not None:
            action, self._on_exit = self._on_exit, None
            action()


class Interrupter:
    """Knows which cell is in user code now; everything but `request` is called from the main thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, shield: Shield) -> None:
        self._loop = loop
        self._shield = shield
        self._main_thread: Final = threading.main_thread().ident
        self._cell = NOBODY
        self._task: asyncio.Task[None] | None = None
        self._in_user_code = False
        self._requested: set[Writer] = set()

    def install(self) -> None:
        """Take SIGINT over."""
        signal.signal(signal.SIGINT, self._on_sigint)

    def request(self, cell: Writer) -> None:
        """Ask for the end of a cell; from the protocol thread. A cell that is still queued ends when it starts."""
        self._requested.add(cell)
        if self._cell == cell and self._main_thread is not None:
            signal.pthread_kill(self._main_thread, signal.SIGINT)

    def was_requested(self, cell: Writer) -> bool:
        """Tell whether the cell was asked to end."""
        return cell in self._requested

    def enter(self, cell: Writer, task: asyncio.Task[None] | None) -> None:
        """User code of this cell starts; raises KeyboardInterrupt if its end was asked for before."""
        self._cell, self._task = cell, task
        self._in_user_code = True
        if cell in self._requested:
            raise KeyboardInterrupt

    def leave(self) -> None:
        """User code has ended; from here on the engine can't be interrupted."""
        self._in_user_code = False

    def forget(self, cell: Writer) -> None:
        """Drop what was asked of this cell and of earlier ones: it has ended."""
        self._cell, self._task = NOBODY, None
        self._requested = {other for other in self._requested if other.seq > cell.seq}

    def _on_sigint(self, signum: int, frame: FrameType | None) -> None:
        if not self._shield.defer(self._deliver):
            self._deliver()

    def _deliver(self) -> None:
        if not self._in_user_code or self._cell not in self._requested:
            return  # late, or not ours
        task = self._task
        stepped = asyncio.current_task(self._loop) if self._loop.is_running() else None
        if task is None or stepped is task:
            raise KeyboardInterrupt
        # The cell awaits. The loop may be asleep in its selector, which only a write to its own pipe ends.
        self._loop.call_soon_threadsafe(task.cancel)
