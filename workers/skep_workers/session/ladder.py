"""The steps of an interrupt, by the clock; the control thread climbs them.

1. SIGINT to the main thread, unless that has the request from the worker's signal, and to the child processes which the
   cell started, as in a terminal. Both cut blocking system calls short. What doesn't come through (os.system ignores
   SIGINT while it waits) is sent again, as a signal of our own, whose handler user code hasn't replaced.
2. After the grace period that signal again and again, with a tracer that raises where nothing catches. A background
   task that holds up the loop is ended then as well.
3. After it again the worker kills the process.

A cell that is still queued ends when it starts, and if another one runs before it, that is left alone.
"""

from threading import get_ident  # bound early: user code may patch threading
from typing import Final

from skep_shared.originals import signal
from skep_workers.session.children import interrupt_children
from skep_workers.session.clock import monotonic
from skep_workers.session.interrupts import HARD_SIGNAL, Interrupter, Reason, RunningCell
from skep_workers.session.writer import Writer

HARD_REPEAT_SECONDS: Final = 0.02
UNHEARD_REPEAT_SECONDS: Final = 0.05
DEFAULT_GRACE_SECONDS: Final = 2.0


class Ladder:
    """Asks for the end of cells, and goes on asking; all of it belongs to the control thread."""

    def __init__(self, interrupter: Interrupter) -> None:
        self._interrupter = interrupter
        self._main_thread: Final = get_ident()
        self._target: Writer | None = None
        self._again_at: float | None = None
        self._hard_at: float | None = None
        self.grace_seconds = DEFAULT_GRACE_SECONDS

    def request(self, cell: Writer, reason: Reason = Reason.INTERRUPT) -> None:
        """Ask for the end of a cell."""
        if cell.seq > self._interrupter.ended_seq:
            self._interrupter.requested.setdefault(cell, reason)
        self.tick()

    def next_deadline(self) -> float | None:
        """Give the monotonic time at which `tick` wants to be called."""
        running = self._interrupter.running
        times = [at for at in (self._again_at, self._hard_at) if at is not None]
        if running is not None and running.times_out_at is not None and running.cell not in self._interrupter.requested:
            times.append(running.times_out_at)
        return min(times) if times else None

    def tick(self) -> None:
        """Do what it is time for."""
        now = monotonic()
        running, requested = self._interrupter.running, self._interrupter.requested
        if running is not None and running.times_out_at is not None and now >= running.times_out_at:
            requested.setdefault(running.cell, Reason.TIMEOUT)
        for late in [cell for cell in requested if cell.seq <= self._interrupter.ended_seq]:
            del requested[late]
        target = self._next_to_end(running)
        if target != self._target:
            self._begin(target, running, now)
        elif self._again_at is not None and now >= self._again_at:
            self._again_at = None
            if running is not None and self._interrupter.delivered != target and self._interrupter.has_sigint:
                self._signal(HARD_SIGNAL, running, now)
        if self._hard_at is not None and now >= self._hard_at:
            self._interrupter.insisted_on = target
            # Again and again until it has ended, or the worker has ended the process.
            self._hard_at = now + HARD_REPEAT_SECONDS
            signal.pthread_kill(self._main_thread, HARD_SIGNAL)

    def _next_to_end(self, running: RunningCell | None) -> Writer | None:
        """Give the cell that is to end now: the one that runs, or the one whose turn it is and that can't start."""
        requested = self._interrupter.requested
        if running is not None:
            return running.cell if running.cell in requested else None
        first = min(requested, default=None)
        return first if first is not None and first.seq == self._interrupter.ended_seq + 1 else None

    def _begin(self, target: Writer | None, running: RunningCell | None, now: float) -> None:
        self._target = target
        self._interrupter.insisted_on = self._again_at = self._hard_at = None
        if target is None:
            return
        self._hard_at = now + self.grace_seconds
        if running is not None:
            self._signal(signal.SIGINT, running, now)

    def _signal(self, number: int, running: RunningCell, now: float) -> None:
        self._again_at = now + UNHEARD_REPEAT_SECONDS
        if self._interrupter.delivered != running.cell:
            signal.pthread_kill(self._main_thread, number)
        interrupt_children(since=running.started_at, while_true=lambda: self._interrupter.running is running)
