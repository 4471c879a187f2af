"""Makes calls on the main thread for other threads, for functions about signals that only the main thread may call.

The main thread makes them in a signal handler, so it need not be idle: the signal interrupts a blocking C call.
"""

import contextlib
from _signal import signal as set_handler  # type: ignore[import-not-found]  # signal's own makes enums of it
from _thread import allocate_lock, get_ident
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from skep_shared.originals import signal

CALL_SIGNAL: Final = signal.SIGRTMIN + 9
WAIT_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 0.05


class _Call:
    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._result: Any = None
        self._error: BaseException | None = None
        self.done = allocate_lock()
        self.done.acquire()

    def make(self) -> None:
        try:
            self._result = self._function()
        except BaseException as exc:  # noqa: BLE001 - it is the caller's
            self._error = exc
        self.done.release()

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._result


class MainThread:
    """Makes calls on the main thread."""

    def __init__(self) -> None:
        self._ident = 0
        self._calls: deque[_Call] = deque()

    def install(self) -> None:
        """Install the signal handler; only the main thread may call this."""
        self._ident = get_ident()
        self._calls.clear()
        set_handler(CALL_SIGNAL, self._on_signal)

    def call(self, function: Callable[[], Any]) -> Any:
        """Return the function's result, or raise its error; raise TimeoutError if the main thread is stuck."""
        if self._ident in {0, get_ident()}:
            return function()
        call = _Call(function)
        self._calls.append(call)
        for _ in range(int(WAIT_SECONDS / AGAIN_SECONDS)):
            # Repeated, because a signal that arrives right before the main thread blocks in C does not interrupt that.
            signal.pthread_kill(self._ident, CALL_SIGNAL)
            if call.done.acquire(timeout=AGAIN_SECONDS):
                return call.result()
        with contextlib.suppress(ValueError):
            self._calls.remove(call)
        raise TimeoutError(f"the main thread has not run Python code for {WAIT_SECONDS:g} s")

    def _on_signal(self, *_: object) -> None:
        while self._calls:
            self._calls.popleft().make()


main_thread: Final = MainThread()
