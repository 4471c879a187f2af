"""Ending the running cell from outside: the exception must reach user code, and only user code.

A request names a cell's seq and attempt; one that comes late finds another cell, or none, and does nothing. It is made
in two steps, and a third is the host's, which kills the process.

1. The worker sends the main thread a signal, which gets through where the control thread waits for the GIL, and the
   request as a frame; with that the control thread sends SIGINT, if the main thread hasn't heard yet. Both cut blocking
   system calls short. The handler, in the main thread, decides: code that runs gets KeyboardInterrupt where it stands,
   a cell that awaits has its task cancelled. Child processes that the cell started get SIGINT too, as in a terminal.
   What doesn't come through (os.system ignores SIGINT while it waits) is sent again, as a signal of our own.
2. After the grace period the same again with that signal, whose handler user code hasn't replaced, and with a tracer
   that raises where nothing catches. A background task that holds up the loop is ended then as well.
"""

import asyncio
import signal
import threading
from asyncio import _get_running_loop, current_task  # bound early: user code may patch asyncio
from collections.abc import Callable
from enum import StrEnum
from types import FrameType
from typing import Final

from skep_shared.interrupt_page import INTERRUPT_SIGNAL
from skep_workers.session.children import interrupt_children
from skep_workers.session.clock import monotonic
from skep_workers.session.escalation import Tracer
from skep_workers.session.link import NOBODY, Writer
from skep_workers.session.shield import Shield

HARD_SIGNAL: Final = signal.SIGRTMIN + 6
HARD_REPEAT_SECONDS: Final = 0.02
UNHEARD_REPEAT_SECONDS: Final = 0.05
DEFAULT_GRACE_SECONDS: Final = 2.0


class Reason(StrEnum):
    """Why a cell is to end."""

    INTERRUPT = "interrupt"
    TIMEOUT = "timeout"


class Interrupter:
    """Knows which cell is in user code now.

    `request`, `next_deadline` and `tick` belong to the control thread, everything else to the main thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, shield: Shield, wanted: Callable[[], tuple[int, int]]) -> None:
        """`wanted` gives seq and attempt of the cell that the worker's signal is about."""
        self._wanted = wanted
        self._loop = loop
        self._shield = shield
        self._main_thread: Final = threading.main_thread().ident or 0
        self._cell = NOBODY
        self._task: asyncio.Task[None] | None = None
        self._in_user_code = False
        self._started_at = 0.0
        self._times_out_at: float | None = None
        self._requested: dict[Writer, Reason] = {}
        self._ended_seq = 0
        self._delivered = NOBODY
        self._again_at: float | None = None
        self._hard: Writer | None = None
        self._hard_at: float | None = None
        self._tracer = Tracer(lambda: self._hard == self._cell and self._in_user_code)
        self.grace_seconds = DEFAULT_GRACE_SECONDS

    def install(self) -> None:
        """Take SIGINT and the signal of our own."""
        signal.signal(signal.SIGINT, self._on_sigint)
        signal.signal(HARD_SIGNAL, self._on_hard_signal)
        signal.signal(INTERRUPT_SIGNAL, self._on_workers_signal)

    # --- the main thread's part -----------------------------------------------------------------------------------

    def start(self, cell: Writer, task: asyncio.Task[None] | None, timeout_seconds: float | None) -> None:
        """This cell runs from now on, in `task` or (None) outside of the loop; its time starts."""
        self._cell, self._task = cell, task
        self._started_at = monotonic()
        self._times_out_at = self._started_at + timeout_seconds if timeout_seconds is not None else None

    def enter(self) -> None:
        """User code starts; raises KeyboardInterrupt if it was to end before."""
        self._in_user_code = True
        if self._cell in self._requested:
            self._delivered = self._cell
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise the KeyboardInterrupt that has not come through yet: os.system, for one, ignores SIGINT meanwhile."""
        if self._delivered != self._cell and self._has_sigint:
            self.enter()

    def leave(self) -> None:
        """User code has ended; from here on the engine can't be interrupted."""
        self._in_user_code = False

    def reason(self, cell: Writer) -> Reason | None:
        """Give the reason why the cell was asked to end, if it was."""
        return self._requested.get(cell)

    def forget(self, cell: Writer) -> None:
        """Drop what was asked of this cell and of earlier ones: it has ended."""
        self._cell, self._task, self._times_out_at = NOBODY, None, None
        self._ended_seq = max(self._ended_seq, cell.seq)
        for other in [other for other in self._requested if other.seq <= cell.seq]:
            del self._requested[other]
        self._hard = self._hard_at = self._again_at = None

    @property
    def _has_sigint(self) -> bool:
        """Tell whether SIGINT is ours; a handler of the user's own decides for itself what it means."""
        return signal.getsignal(signal.SIGINT) == self._on_sigint

    def _on_sigint(self, signum: int, frame: FrameType | None) -> None:
        if not self._shield.defer(self._deliver):
            self._deliver()

    def _on_workers_signal(self, _number: int, _frame: FrameType | None) -> None:
        # A SIGINT handler of the user's own is called once, by the SIGINT that follows.
        if self._has_sigint and not self._shield.defer(self._deliver_wanted):
            self._deliver_wanted()

    def _deliver_wanted(self) -> None:
        if self._in_user_code and self._cell not in self._requested and self._wanted() == self._cell:
            self._requested[self._cell] = Reason.INTERRUPT
            self._deliver()

    def _deliver(self) -> None:
        if not self._in_user_code or self._cell not in self._requested or self._delivered == self._cell:
            return  # late, or not ours, or heard already: one request may come as two signals
        self._delivered = self._cell
        task = self._task
        if task is None or self._stepped_task() is task:
            raise KeyboardInterrupt
        # The cell awaits. The loop may be asleep in its selector, which only a write to its own pipe ends.
        self._loop.call_soon_threadsafe(task.cancel)

    def _on_hard_signal(self, signum: int, frame: FrameType | None) -> None:
        if self._hard is None:
            self._on_sigint(signum, frame)  # it was not heard as SIGINT
            return
        if self._shield.defer(lambda: self._on_hard_signal(signum, None)):
            return
        task, stepped = self._task, self._stepped_task()
        if stepped is not None and stepped is not task:
            raise KeyboardInterrupt  # a background task holds the loop up: the cell can't start, or go on
        if self._in_user_code and self._cell == self._hard:
            self._tracer.install(frame, task.get_coro() if task is not None else None)
            if task is None or stepped is task:
                raise KeyboardInterrupt  # it will be caught, but it ends a blocking call, behind which the tracer waits
            self._loop.call_soon_threadsafe(task.cancel)

    def _stepped_task(self) -> asyncio.Task[None] | None:
        """Give the task whose code runs now.

        Not one that asyncio is at, before its code or behind it: an exception there would be the loop's, and the task
        would never be scheduled again.
        """
        if not self._loop.is_running() or _get_running_loop() is not self._loop:
            return None
        task = current_task(self._loop)
        return task if task is not None and getattr(task.get_coro(), "cr_running", True) else None

    # --- the control thread's part --------------------------------------------------------------------------------

    def request(self, cell: Writer, reason: Reason = Reason.INTERRUPT) -> None:
        """Ask for the end of a cell. One that is still queued ends when it starts."""
        if cell.seq <= self._ended_seq:
            return  # it came late, or the worker's signal has ended the cell already
        now = monotonic()
        if cell in self._requested:
            if self._hard_at is None:  # the main thread has it from the worker's signal; the rest is ours to do
                self._hard_at = now + self.grace_seconds
                interrupt_children(since=self._started_at)
            return
        self._requested[cell] = reason
        self._hard_at = now + self.grace_seconds
        if self._cell == cell:
            self._signal(signal.SIGINT, now)

    def _signal(self, number: int, now: float) -> None:
        self._again_at = now + UNHEARD_REPEAT_SECONDS
        signal.pthread_kill(self._main_thread, number)
        interrupt_children(since=self._started_at)

    def next_deadline(self) -> float | None:
        """Give the monotonic time at which `tick` wants to be called."""
        times = [at for at in (self._times_out_at, self._again_at, self._hard_at) if at is not None]
        return min(times) if times else None

    def tick(self) -> None:
        """Time a cell out, or go on to the second step, if it is time."""
        now = monotonic()
        cell = self._cell
        if self._times_out_at is not None and now >= self._times_out_at:
            self._times_out_at = None
            self.request(cell, Reason.TIMEOUT)
        if self._again_at is not None and now >= self._again_at:
            self._again_at = None
            if cell in self._requested and self._delivered != cell and self._has_sigint:
                self._signal(HARD_SIGNAL, now)
        if self._hard_at is not None and now >= self._hard_at:
            self._hard = cell if cell in self._requested else min(self._requested, default=None)
            # Again and again until it has ended, or the host has ended the process.
            self._hard_at = now + HARD_REPEAT_SECONDS if self._hard is not None else None
            if self._hard is not None:
                signal.pthread_kill(self._main_thread, HARD_SIGNAL)
