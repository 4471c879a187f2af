"""The steps of an interrupt and their times; the control thread runs them.

1. SIGINT to the main thread, unless the worker's signal has delivered the request already, and to the child processes
   that the cell has started, as in a terminal. Both cut blocking system calls short. If it isn't delivered (os.system
   ignores SIGINT while it waits), a signal of the engine is sent, whose handler user code hasn't replaced.
2. After the grace period that signal again and again, with a tracer that raises where no handler catches. A background
   task that holds up the loop is ended then as well.
3. After another grace period the worker kills the process.

A cell that is still queued ends when it starts; the running cell before it is not affected.
"""

from threading import get_ident  # bound early: user code may patch threading
from typing import Final

from skep_shared.originals import signal
from skep_shared.protocol.interrupt_page import INTERRUPT_SIGNAL
from skep_workers.session.attribution.writer import Writer
from skep_workers.session.interrupt.interrupts import HARD_SIGNAL, Interrupter
from skep_workers.session.interrupt.main_code import RunningCell
from skep_workers.session.interrupt.requests import Reason
from skep_workers.session.runtime.children import interrupt_children
from skep_workers.session.safeguards.clock import monotonic

HARD_REPEAT_SECONDS: Final = 0.02
UNHEARD_REPEAT_SECONDS: Final = 0.05
DEFAULT_GRACE_SECONDS: Final = 2.0


class Escalation:
    """Requests the end of cells, and repeats the signals until they end. All of it belongs to the control thread."""

    def __init__(self, interrupter: Interrupter) -> None:
        self._interrupter = interrupter
        self._main_thread: Final = get_ident()
        self._target: Writer | None = None
        self._again_at: float | None = None
        self._hard_at: float | None = None
        self._own_at: float | None = None  # when a SIGINT that the cell has sent itself is signalled again
        self.grace_seconds = DEFAULT_GRACE_SECONDS

    def request(self, cell: Writer, reason: Reason = Reason.INTERRUPT) -> None:
        """Request the end of a cell."""
        if cell.seq > self._interrupter.ended_seq:
            self._interrupter.requests.by_cell.setdefault(cell, reason)
        self.run_due_steps()

    def next_deadline(self) -> float | None:
        """Return the monotonic time at which `run_due_steps` is to be called."""
        running, requested = self._interrupter.running, self._interrupter.requests.by_cell
        times = [at for at in (self._again_at, self._hard_at, self._own_at) if at is not None]
        if running is not None and running.times_out_at is not None and running.cell not in requested:
            times.append(running.times_out_at)
        return min(times) if times else None

    def run_due_steps(self) -> None:
        """Run the steps that are due."""
        now = monotonic()
        running, requests = self._interrupter.running, self._interrupter.requests
        requested = requests.by_cell
        if running is not None and running.times_out_at is not None and now >= running.times_out_at:
            requested.setdefault(running.cell, Reason.TIMEOUT)
        for late in [cell for cell in requested if cell.seq <= self._interrupter.ended_seq]:
            del requested[late]
        self._signal_own_again(now)
        target = self._next_to_end(running)
        if target != self._target:
            self._begin(target, running, now)
        elif self._again_at is not None and now >= self._again_at:
            self._again_at = None
            if running is not None and self._interrupter.delivered != target and self._interrupter.has_sigint:
                self._signal(HARD_SIGNAL, running, now)
        if self._hard_at is not None and now >= self._hard_at:
            requests.insisted_on = target
            # Again and again until the cell has ended, or the worker has killed the process.
            self._hard_at = now + HARD_REPEAT_SECONDS
            signal.pthread_kill(self._main_thread, HARD_SIGNAL)

    def _signal_own_again(self, now: float) -> None:
        """Signal the cell's own SIGINT again if it could not be raised yet: the code after it may block forever."""
        if not self._interrupter.has_own_pending:
            self._own_at = None
        elif self._own_at is None:
            self._own_at = now + UNHEARD_REPEAT_SECONDS
        elif now >= self._own_at:
            self._own_at = now + UNHEARD_REPEAT_SECONDS
            signal.pthread_kill(self._main_thread, INTERRUPT_SIGNAL)

    def _next_to_end(self, running: RunningCell | None) -> Writer | None:
        """Return the cell that is to end now: the running one, or the next one if it can't start."""
        requested = self._interrupter.requests.by_cell
        if running is not None:
            return running.cell if running.cell in requested else None
        first = min(requested, default=None)
        return first if first is not None and first.seq == self._interrupter.ended_seq + 1 else None

    def _begin(self, target: Writer | None, running: RunningCell | None, now: float) -> None:
        self._target = target
        self._interrupter.requests.insisted_on = self._again_at = self._hard_at = None
        if target is None:
            return
        self._hard_at = now + self.grace_seconds
        if running is not None:
            self._signal(signal.SIGINT, running, now)

    def _signal(self, number: int, running: RunningCell, now: float) -> None:
        self._again_at = now + UNHEARD_REPEAT_SECONDS
        if self._interrupter.delivered != running.cell:
            if number == signal.SIGINT and self._interrupter.has_sigint:
                self._interrupter.requests.sigint_sent_at = now  # before the signal: this marks it as the engine's own
            signal.pthread_kill(self._main_thread, number)
        interrupt_children(since=running.started_at, while_true=lambda: self._interrupter.running is running)
