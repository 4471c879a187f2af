"""Runs the session's loop in a helper thread while a cell that doesn't await occupies the main thread.

As long as the cell doesn't block, no thread runs the loop. While it blocks, a helper thread does if the loop has work:
from the beginning of the cell, or as soon as the cell schedules something or runs a loop of its own. The cell itself
remains on the main thread, because only there a signal interrupts a blocking C call. While the cell runs the session's
loop itself (`run_until_complete`), the helper thread is stopped.

A session option keeps the loop on the main thread, where objects that belong to a thread (connections of sqlite3,
thread-locals) are the same for its cells and its tasks. Tasks then pause while a cell blocks.
"""

import contextlib
import ctypes
from asyncio import set_event_loop  # bound early: user code may patch asyncio
from collections.abc import Callable, Iterator
from threading import RLock, get_ident  # bound early: user code may patch threading
from typing import Final

from skep_workers.session.runtime.loop import SessionLoop
from skep_workers.session.runtime.thread_bound import record_background_thread
from skep_workers.session.safeguards.native_threads import NativeThread
from skep_workers.session.safeguards.shield import Shield

JOIN_SECONDS: Final = 0.2

_set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc  # bound early: user code may patch ctypes


class LoopCarrier:
    """Runs the loop in a thread while the main thread is in a cell that doesn't await.

    All methods are for the main thread, except `start`, which any thread may call.
    """

    def __init__(self, loop: SessionLoop, shield: Shield, on_start: Callable[[], object] = lambda: None) -> None:
        """`on_start` is called before any code other than the cell's can run."""
        self._loop = loop
        self._shield = shield
        self._on_start = on_start
        self._thread: NativeThread | None = None
        self._stopping = False
        self._is_watching = False
        self._may_start = False
        self._lock = RLock()  # reentrant, because a signal handler may schedule something while it is held
        self.pauses = False  # the session's option to keep the loop on the main thread

    def begin_cell(self, *, blocks: bool, starts: bool) -> None:
        """Prepare for a cell. `blocks`: it is expected to block; `starts`: the loop already has work."""
        self._loop.carrier = self
        self._may_start = not self.pauses
        if starts:
            self.start()
        if blocks and self._may_start:
            self._watch_scheduling()

    def end_cell(self) -> None:
        """Stop the thread after a cell. For use inside the shield: the loop must be stopped before anything else."""
        with self._lock:
            self._may_start = False
        self.stop()
        if self._is_watching:
            self._is_watching = False
            self._loop.stop_notifying()
        self._loop.carrier = None

    def start(self) -> None:
        """Start the thread, unless it runs already or must not run."""
        if self._thread is not None or not self._may_start or self._loop.carrier is not self:
            return
        with self._shield, self._lock:
            if self._thread is not None or not self._may_start:
                return  # another thread was faster, or the cell has ended
            self._on_start()
            self._stopping = False
            self._thread = thread = NativeThread(self._run, "skep-loop")
            self._watch_scheduling()
            try:
                thread.start()
            except BaseException:
                self._thread = None
                raise

    def stop(self) -> None:
        """Stop the thread. For use inside the shield.

        An interrupt that arrives meanwhile is passed on to the background task that keeps the loop from stopping.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping = True
        stop = self._loop.call_soon_threadsafe(self._loop.stop)
        thread.join(JOIN_SECONDS)
        while thread.is_alive():
            if self._shield.has_deferred:
                raise_in_thread(thread, KeyboardInterrupt)
            thread.join(JOIN_SECONDS)
        stop.cancel()  # if the thread ended before it ran the loop, the stop would otherwise hit the next run

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the thread while the cell runs the loop itself."""
        may_start, had_started = self._may_start, False
        try:
            with self._shield:
                with self._lock:
                    self._may_start = False
                    had_started = self._thread is not None
                self.stop()
            yield
        finally:
            self._may_start = may_start
            if had_started:
                self.start()

    def _watch_scheduling(self) -> None:
        """Register a call for when the cell schedules something."""
        if not self._is_watching:
            self._is_watching = True
            self._loop.notify_on_schedule(self._wake)

    def _wake(self) -> None:
        if self._thread is not None:
            self._loop.wake()
        else:
            self.start()

    def _run(self) -> None:
        set_event_loop(self._loop)
        record_background_thread(get_ident())
        while not self._stopping:
            with contextlib.suppress(KeyboardInterrupt, SystemExit):  # raised by a background task, which ends
                self._loop.run_forever()


def raise_in_thread(thread: NativeThread, kind: type[BaseException]) -> None:
    """Raise an exception in another thread at its next bytecode; a blocking C call there is not interrupted."""
    if thread.ident is not None:
        _set_async_exc(ctypes.c_ulong(thread.ident), ctypes.py_object(kind))
