"""Runs blocking cells without stalling what else goes on.

The blocking code stays on the main thread, because only there a signal interrupts a blocking C call; it is the event
loop that moves to a helper thread for that time, if it has anything to do. So `asyncio.run` works in a cell, background
tasks go on while it blocks, and an interrupt ends `time.sleep(60)` at once, with or without background tasks.
"""

import contextlib
import contextvars
import ctypes
from asyncio import set_event_loop  # bound early: user code may patch asyncio
from collections.abc import Callable
from typing import Any, Final

from skep_workers.session.compiling import CompiledCell
from skep_workers.session.loop import SessionLoop
from skep_workers.session.namespace import NamespaceManager
from skep_workers.session.native_threads import NativeThread
from skep_workers.session.shield import Shield

JOIN_SECONDS: Final = 0.2

_set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc  # bound early: user code may patch ctypes


class ThreadedExecutor:
    """Runs code objects on the calling thread, with the loop, which must not be running, carried by another one."""

    def __init__(
        self,
        namespace: NamespaceManager,
        loop: SessionLoop,
        *,
        shield: Shield | None = None,
        context: contextvars.Context | None = None,
        drain: Callable[[float], None] = lambda _seconds: None,
        drain_timeout: float = 1.0,
    ) -> None:
        """`context`: where the code runs, else the caller's. `shield`: what keeps interrupts out meanwhile.

        `drain` takes what the code wrote to descriptors, for at most `drain_timeout` seconds.
        """
        self._namespace = namespace
        self._loop = loop
        self._shield = shield or Shield()
        self._context = context
        self._drain = drain
        self._drain_timeout = drain_timeout

    def execute(self, compiled: CompiledCell, *, carries_loop: bool) -> Any:
        """Run the cell; gives the last expression's value. Raises what the code raises."""
        carrier = _LoopCarrier(self._loop, self._shield) if carries_loop else None
        try:
            if carrier is not None:
                carrier.start()
            if self._context is None:
                return compiled.evaluate(self._namespace.names)
            return self._context.run(compiled.evaluate, self._namespace.names)
        finally:
            self._shield.depth += 1
            try:
                if carrier is not None:
                    carrier.stop()
                self._drain(self._drain_timeout)
            finally:
                self._shield.leave()


class _LoopCarrier:
    """A thread that runs a loop for as long as the main thread is busy."""

    def __init__(self, loop: SessionLoop, shield: Shield) -> None:
        self._loop = loop
        self._shield = shield
        self._stopping = False
        self._thread = NativeThread(self._run, "skep-loop")

    def start(self) -> None:
        """Hand the loop over."""
        with self._shield:
            self._thread.start()
            self._loop.share()

    def stop(self) -> None:
        """Take the loop back, inside the shield: it must be here before anything else happens.

        An interrupt that comes meanwhile means the background task that holds the loop up.
        """
        if self._thread.ident is None:
            return  # the cell ended before it came to it
        self._stopping = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(JOIN_SECONDS)
        while self._thread.is_alive():
            if self._shield.is_waited_for:
                raise_in_thread(self._thread, KeyboardInterrupt)
            self._thread.join(JOIN_SECONDS)
        self._loop.unshare()

    def _run(self) -> None:
        set_event_loop(self._loop)
        while not self._stopping:
            with contextlib.suppress(KeyboardInterrupt, SystemExit):  # of a background task; it ends that task only
                self._loop.run_forever()


def raise_in_thread(thread: NativeThread, kind: type[BaseException]) -> None:
    """Have an exception raised in another thread at its next bytecode; a blocking C call there is not cut short."""
    if thread.ident is not None:
        _set_async_exc(ctypes.c_ulong(thread.ident), ctypes.py_object(kind))
