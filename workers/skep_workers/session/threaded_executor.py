"""Runs blocking cells without stalling what else goes on.

The blocking code stays on the main thread, because only there a signal interrupts a blocking C call; it is the event
loop that moves to a helper thread for that time, if it has anything to do. So `asyncio.run` works in a cell, background
tasks go on while it blocks, and an interrupt ends `time.sleep(60)` at once, with or without background tasks.
"""

import contextlib
import contextvars
import ctypes
from asyncio import set_event_loop  # bound early: user code may patch asyncio and threading
from collections.abc import Callable
from threading import Thread
from typing import Any, Final

from skep_workers.session.compiling import CompiledCell
from skep_workers.session.loop import SessionLoop
from skep_workers.session.namespace import NamespaceManager

JOIN_SECONDS: Final = 0.2

_set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc  # bound early: user code may patch ctypes


class ThreadedExecutor:
    """Runs code objects on the calling thread, with the loop, which must not be running, carried by another one."""

    def __init__(
        self,
        namespace: NamespaceManager,
        loop: SessionLoop,
        *,
        context: contextvars.Context | None = None,
        drain: Callable[[float], None] = lambda _seconds: None,
        drain_timeout: float = 1.0,
    ) -> None:
        """`context`: where the code runs, else the caller's.

        `drain` takes what the code wrote to descriptors, for at most `drain_timeout` seconds.
        """
        self._namespace = namespace
        self._loop = loop
        self._context = context
        self._drain = drain
        self._drain_timeout = drain_timeout

    def execute(self, compiled: CompiledCell, *, carries_loop: bool) -> Any:
        """Run the cell; gives the last expression's value. Raises what the code raises."""
        with _LoopCarrier(self._loop) if carries_loop else contextlib.nullcontext():
            try:
                if self._context is None:
                    return compiled.evaluate(self._namespace.names)
                return self._context.run(compiled.evaluate, self._namespace.names)
            finally:
                self._drain(self._drain_timeout)


class _LoopCarrier:
    """A thread that runs a loop for as long as the main thread is busy, as a context manager."""

    def __init__(self, loop: SessionLoop) -> None:
        self._loop = loop
        self._stopping = False
        self._thread = Thread(target=self._run, name="skep-loop", daemon=True)

    def __enter__(self) -> None:
        self._loop.share()
        self._thread.start()

    def __exit__(self, *exc_info: object) -> None:
        self._stopping = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        interrupted = False
        while self._thread.is_alive():
            # The loop must be back before anything else happens, so an interrupt that comes now is kept for later; it
            # means the background task that holds the loop up.
            try:
                self._thread.join(JOIN_SECONDS)
            except KeyboardInterrupt:
                interrupted = True
                raise_in_thread(self._thread, KeyboardInterrupt)
        self._loop.unshare()
        if interrupted and exc_info[0] is None:
            raise KeyboardInterrupt

    def _run(self) -> None:
        set_event_loop(self._loop)
        while not self._stopping:
            with contextlib.suppress(KeyboardInterrupt, SystemExit):  # of a background task; it ends that task only
                self._loop.run_forever()


def raise_in_thread(thread: Thread, kind: type[BaseException]) -> None:
    """Have an exception raised in another thread at its next bytecode; a blocking C call there is not cut short."""
    if thread.ident is not None:
        _set_async_exc(ctypes.c_ulong(thread.ident), ctypes.py_object(kind))
