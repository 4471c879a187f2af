"""Interrupting the running cell from outside: the exception must reach user code, and only user code.

A request names a cell's seq and attempt. A late one finds another cell running, or none, and does nothing. Each request
arrives twice: as a signal of the worker to the main thread, which is delivered even where the control thread waits for
the GIL, and as a frame, which the control thread reads (see escalation.py). The handlers here run in the main thread
and decide: code that runs gets a KeyboardInterrupt where it is, and a cell that awaits has its task cancelled.

A handler may run between any two steps of the main thread, so the exception is raised only while a cell's own code
runs. An exception that can't be raised now waits, in the shield or as a callback of the loop.

SIGINT may also come from user code: `signal.raise_signal`, `os.kill` or `_thread.interrupt_main`, in the cell, its
threads or its child processes. The control thread leaves a mark before it sends a SIGINT. A SIGINT without that mark,
and without a request for the running cell, is the cell's own, and raises KeyboardInterrupt in that cell each time. It
is raised where frames of user code are on the stack, and nowhere after them, however many signals arrive: one that
arrives while the engine returns from the cell waits for `check`.

Things that don't work, most of them found by 100,000 interrupts under load:
- Asking only the control thread: a cell in C code that holds the GIL keeps it waiting. So the worker signals the main
  thread itself, and C code that checks for signals (re, for instance) ends instead of being killed.
- Sending the frame before the signal: the control thread woke up and competed for the GIL with the main thread, which
  was ending the cell. That took 0.3 of 3 ms.
- Raising in asyncio's own code, before or after the code of a task: the exception becomes the loop's, and the task is
  never scheduled again. In asyncio.run its shutdown then waits forever for the lost task.
- Raising in the engine: it cuts short what has to be done. An exception at the first instruction of a function that was
  to clean up skipped the cleanup.
- Counting an exception as delivered once it is raised: Python drops what is raised in a finalizer or in the callback of
  a weak reference. So that is recorded, and the control thread signals again.
- Raising inside a Condition: it leaves the lock locked, or raises an error about the lock instead.
- Keeping one deferred action for both signals of a request, each tied to its signal: the later one replaced the earlier
  one and did nothing, since the request was known by then.
- Appending the cancellation to what the loop has ready: a thousand tasks that block run first. It is put in front.
"""

import asyncio
import sys
from _signal import getsignal  # type: ignore[import-not-found]  # signal's makes an enum of it, at 30 times the price
from asyncio import _get_running_loop  # bound early: user code may patch asyncio
from collections.abc import Callable
from threading import Condition, get_ident  # bound early: user code may patch threading
from types import FrameType
from typing import Any, Final

from skep_shared.originals import signal
from skep_shared.protocol.interrupt_page import INTERRUPT_SIGNAL
from skep_workers.session.attribution.writer import NO_CELL, Writer
from skep_workers.session.errors.uncaught import engine_interrupt, is_engine_interrupt, report_unraisable
from skep_workers.session.interrupt.debuggers import OpenDebuggers
from skep_workers.session.interrupt.loop_watch import LoopWatch
from skep_workers.session.interrupt.main_code import CodeOfMainThread, RunningCell
from skep_workers.session.interrupt.requests import InterruptRequests, Reason
from skep_workers.session.interrupt.tracer import Tracer, runs_a_cell
from skep_workers.session.runtime.loop import SessionLoop, cancel_first, run_next
from skep_workers.session.safeguards.clock import monotonic
from skep_workers.session.safeguards.shield import Shield

HARD_SIGNAL: Final = signal.SIGRTMIN + 6
INTERRUPTER: Final = "__skep_interrupter__"  # a built-in name
MARK_SECONDS: Final = 1.0  # a marked SIGINT that has not arrived by then was handled by C code
# An exception in these leaves a lock locked, or becomes an error about the lock. Queues, events and futures use them.
_UNINTERRUPTIBLE: Final = {
    getattr(Condition, name).__code__ for name in ("__enter__", "__exit__", "_acquire_restore", "_release_save")
}


class Interrupter:
    """Interrupts the cell that is in user code. All of it belongs to the main thread; the control thread reads it.

    `pass_to_cell` raises an exception in the cell that awaits, and returns False if no cell awaits.
    `wake_control_thread` makes the control thread check whether a signal is to be sent again.
    """

    def __init__(self, loop: SessionLoop, shield: Shield, is_on_page: Callable[[Writer], bool]) -> None:
        """`is_on_page` is that of InterruptRequests."""
        self._main_thread: Final = get_ident()
        self._loop = loop
        self._loop_watch = LoopWatch(loop)
        self._code: Final = CodeOfMainThread(loop)
        self._shield = shield
        self.requests: Final = InterruptRequests(is_on_page)
        self.pass_to_cell: Callable[[BaseException], bool] = lambda _exc: False
        self.wake_control_thread: Callable[[], object] = lambda: None
        self._own_sigint = NO_CELL  # the cell that has sent itself a SIGINT, which is still to be raised
        self._own_in: asyncio.AbstractEventLoop | None = None  # the loop that is about to raise it
        self.running: RunningCell | None = None
        self.ended_seq = 0
        self.delivered = NO_CELL
        # The engine sets this itself when user code has ended: an exception could cut a method short at its start.
        self.is_in_user_code = False
        self._unraisable_hook: Callable[[Any], object] = sys.unraisablehook
        self._is_recording_loss = False  # `_on_unraisable` runs
        self._debuggers = OpenDebuggers()
        self._tracer = Tracer(self._is_traced)

    def install(self) -> None:
        """Install the handlers of SIGINT and of the engine's own signals."""
        signal.signal(signal.SIGINT, self._on_signal)
        sys.modules["signal"].default_int_handler = self._on_signal  # type: ignore[attr-defined]  # cells may set it
        signal.signal(INTERRUPT_SIGNAL, self._on_workers_signal)
        signal.signal(HARD_SIGNAL, self._on_hard_signal)
        before = sys.unraisablehook
        self._unraisable_hook = report_unraisable if before is sys.__unraisablehook__ else before
        sys.unraisablehook = self._on_unraisable

    def start(self, cell: Writer, task: asyncio.Task[None] | None, timeout_seconds: float | None) -> float | None:
        """Record that this cell runs from now on. Its timeout counts from now; return when it ends (monotonic)."""
        now = monotonic()
        deadline = now + timeout_seconds if timeout_seconds is not None else None
        self.running = RunningCell(cell, task, now, deadline)
        return deadline

    def enter(self) -> None:
        """Record that user code starts. Raises KeyboardInterrupt if the cell was to end before."""
        self.is_in_user_code = True
        running = self.running
        if running is not None and self.requests.reason(running.cell) is not None:
            self.delivered = running.cell
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise a KeyboardInterrupt that has not been delivered: os.system, for instance, ignores SIGINT meanwhile."""
        if self._own_sigint is not NO_CELL:
            own, self._own_sigint = self._own_sigint, NO_CELL
            if self.running is not None and own == self.running.cell:
                raise KeyboardInterrupt
        if self.running is not None and self.delivered != self.running.cell and self.has_sigint:
            self.enter()

    def reason(self, cell: Writer) -> Reason | None:
        """Return the reason why the cell is to end, or None."""
        return self.requests.reason(cell)

    def forget(self, cell: Writer) -> None:
        """Record that this cell has ended: requests for it, or for an earlier one, are late from now on."""
        self.running = None
        self._own_sigint, self._own_in = NO_CELL, None
        if self._debuggers.changed:
            self._debuggers.restore()
        self.ended_seq = max(self.ended_seq, cell.seq)

    @property
    def has_sigint(self) -> bool:
        """Return whether this object handles SIGINT. A handler of user code decides itself what SIGINT means."""
        return bool(getsignal(signal.SIGINT) == self._on_signal)

    @property
    def has_own_pending(self) -> bool:
        """Return whether the running cell has sent itself a SIGINT that has not been raised yet."""
        own, running = self._own_sigint, self.running
        return own is not NO_CELL and running is not None and own == running.cell

    def _on_unraisable(self, lost: Any, /) -> None:
        """Record an exception of a finalizer, or of a weak reference's callback: Python drops it.

        A KeyboardInterrupt that is lost in this way has not been delivered, and the control thread soon signals again.
        A signal during this method is not raised, since its exception would be lost just as well.
        """
        self._is_recording_loss = True
        try:
            self._record_loss(lost)
        finally:
            self._is_recording_loss = False

    def _record_loss(self, lost: Any) -> None:
        running = self.running
        is_ours = (
            running is not None and self.requests.reason(running.cell) is not None and get_ident() == self._main_thread
        )
        if is_ours and lost.exc_type is KeyboardInterrupt:
            self.delivered = NO_CELL
        elif running is not None and self.is_in_user_code and is_engine_interrupt(lost.exc_value):
            self._own_sigint = running.cell
            self.wake_control_thread()
        else:
            self._unraisable_hook(lost)

    def _on_signal(self, _number: int, frame: FrameType | None) -> None:
        sent_at, self.requests.sigint_sent_at = self.requests.sigint_sent_at, None
        running = self.running
        is_own = sent_at is None or monotonic() - sent_at > MARK_SECONDS
        if is_own and running is not None and self.is_in_user_code and self.requests.reason(running.cell) is None:
            self._own_sigint = running.cell
            if self._cannot_raise_in(frame):
                self.wake_control_thread()
        self._deliver_or_defer(frame)

    def _on_workers_signal(self, _number: int, frame: FrameType | None) -> None:
        # A SIGINT handler of user code is called once, by the SIGINT that follows.
        if self.has_sigint:
            self._deliver_or_defer(frame)

    def _cannot_raise_in(self, frame: FrameType | None) -> bool:
        """Return whether an exception raised now would be lost, or would break a lock of the standard library."""
        code = frame.f_code if frame is not None else None
        return self._is_recording_loss or code in _UNINTERRUPTIBLE or code is self._on_unraisable.__code__

    def _deliver_or_defer(self, frame: FrameType | None) -> None:
        if self._cannot_raise_in(frame):
            return  # not delivered; the control thread soon signals again
        if not self._shield.defer(self._deliver):
            self._deliver()

    def _on_hard_signal(self, number: int, frame: FrameType | None) -> None:
        if self._is_recording_loss or self._shield.defer(lambda: self._on_hard_signal(number, None)):
            return
        cell = self.requests.insisted_on
        if cell is not None and cell.seq > self.ended_seq:
            self._insist(cell, frame)
        else:
            self._deliver(insists=True)  # SIGINT was not delivered

    def _deliver(self, *, insists: bool = False) -> None:
        """Interrupt the cell, once: one request arrives as several signals."""
        running = self.running
        if running is None or not self.is_in_user_code:
            return
        if self.requests.reason(running.cell) is None:
            if self._own_sigint == running.cell:
                self._deliver_own(running)
            return
        if self.delivered == running.cell:
            return
        self._debuggers.stop_catching(sys._getframe())  # noqa: SLF001 - the present stack
        if self._code.is_own(running):
            self.delivered = running.cell
            raise KeyboardInterrupt
        self._call_in_loop(running, self._cancel)
        if insists and self._code.is_made_by(running):
            raise engine_interrupt()  # the loop did not get to ending the cell; after this it does

    def _deliver_own(self, running: RunningCell) -> None:
        """Raise the cell's own KeyboardInterrupt: now, in the loop's next callback, or at the end of the cell."""
        if self._code.is_own(running) and runs_a_cell(sys._getframe()):  # noqa: SLF001 - the present stack
            self._own_sigint = NO_CELL
            raise engine_interrupt()
        # The loop also raises it where the engine runs for the cell: before its code, or right after it has suspended.
        loop = _get_running_loop()
        if loop is not self._own_in:  # once: code that holds the loop up may send a great many
            self._own_in = loop
            self._call_in_loop(running, self._cancel_for_own)

    def _insist(self, cell: Writer, frame: FrameType | None) -> None:
        """Take the second step, against code that catches KeyboardInterrupt and code that holds the loop up."""
        running = self.running
        if running is not None and running.cell == cell and self.is_in_user_code:
            self._debuggers.stop_catching(frame)
            self._tracer.install(frame, running.task.get_coro() if running.task is not None else None)
            if self._code.is_own(running):
                raise KeyboardInterrupt  # caught by the cell, but it ends a blocking call, and the tracer acts after it
            self.delivered = NO_CELL
            self._call_in_loop(running, self._cancel)
            if self._code.is_made_by(running):
                raise engine_interrupt()
        if _get_running_loop() is self._loop and self._loop_watch.is_held_up() and self._code.is_users(frame):
            raise KeyboardInterrupt  # in a background task, or a callback, that the cell waits for

    def _call_in_loop(self, running: RunningCell, call: Callable[..., None]) -> None:
        """Make the running loop call this next, before everything that is ready.

        Otherwise a thousand tasks of the cell that each block might run first.
        """
        loop = _get_running_loop()
        own: asyncio.Future[Any] | None = (running.task or self._loop.awaited) if loop is self._loop else None
        if loop is not None:
            run_next(loop, call, running.cell, own)

    def _is_still_running(self, cell: Writer) -> bool:
        return self.running is not None and self.running.cell == cell and self.is_in_user_code

    def _cancel_for_own(self, cell: Writer, own: "asyncio.Future[Any] | None") -> None:
        self._own_in = None
        if self._own_sigint != cell or not self._is_still_running(cell):
            return
        self._own_sigint = NO_CELL
        if own is None or own is self._loop.awaited:
            self._end_from_loop(own)
        else:
            self.pass_to_cell(KeyboardInterrupt())

    def _cancel(self, cell: Writer, own: "asyncio.Future[Any] | None") -> None:
        if self.delivered == cell or not self._is_still_running(cell):
            return
        self.delivered = cell
        self._end_from_loop(own)

    def _end_from_loop(self, own: "asyncio.Future[Any] | None") -> None:
        if own is None:
            raise KeyboardInterrupt  # from a callback it leaves the loop at once, and no task is lost
        if own is self._loop.awaited:
            self._loop.interrupted = own
        cancel_first(own)

    def _is_traced(self) -> bool:
        return self.running is not None and self.requests.insisted_on == self.running.cell and self.is_in_user_code
