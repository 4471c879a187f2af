"""Exceptions that handlers of signals raise in the event loop, where no code of a cell runs.

A handler of user code that raises is meant to end the cell that runs, and Python raises wherever the main thread is. A
cell that awaits gets the exception instead of the loop; where no cell awaits, the exception is shown on stderr.
"""

import contextlib
import sys
from asyncio import CancelledError  # bound early: user code may patch asyncio
from collections import deque
from typing import Final

from skep_workers.session.errors.tracebacks import describe_exception
from skep_workers.session.execution.awaiting import AwaitedSignals
from skep_workers.session.interrupt.interrupts import Interrupter
from skep_workers.session.runtime.loop import SessionLoop, cancel_first
from skep_workers.session.safeguards.clock import monotonic

MOST_STRAYS: Final = 100
STRAYS_SECONDS: Final = 1.0


class StrayExceptions:
    """Passes such exceptions to the cell that awaits."""

    def __init__(self, interrupter: Interrupter, signals: AwaitedSignals, loop: SessionLoop) -> None:
        self._interrupter = interrupter
        self._signals = signals
        self._loop = loop

    def raise_in_cell(self, exc: BaseException) -> None:
        """Raise this in the suspended cell: when its code continues, or in the loop's next turn, whichever is first."""
        self._signals.raised = exc
        self._loop.call_soon_threadsafe(self._raise_if_still_suspended, exc)

    def _raise_if_still_suspended(self, exc: BaseException) -> None:
        if self._signals.raised is exc and not self.cancel_awaiting(exc):
            self._signals.raised = None
            show_stray(exc)

    def cancel_awaiting(self, exc: BaseException) -> bool:
        """Cancel the cell that awaits, so that it raises this exception; return False if no cell awaits."""
        running = self._interrupter.running
        if running is None or running.task is None or not self._interrupter.is_in_user_code:
            return False
        self._signals.raised = exc
        cancel_first(running.task)
        return True

    def cause(self, exc: BaseException) -> BaseException:
        """Return what has ended a cell: the handler's exception if the cell was cancelled because of it."""
        stray, self._signals.raised = self._signals.raised, None
        return stray if stray is not None and isinstance(exc, CancelledError) else exc

    def forget(self) -> None:
        """Forget an exception that no cell has raised yet, at the start of a cell."""
        self._signals.raised = None


def show_stray(exc: BaseException) -> None:
    """Show on stderr an exception that no cell can raise, as Python shows an unraisable one."""
    with contextlib.suppress(Exception):
        print(describe_exception(exc)[2], file=sys.stderr, end="")


class StrayLimit:
    """Limits exceptions of user code in the loop: handlers of signals raise a few, and a broken loop raises many."""

    def __init__(self) -> None:
        self._raised_at: deque[float] = deque(maxlen=MOST_STRAYS)

    def allows_another(self) -> bool:
        """Count an exception; return False if too many have been raised within STRAYS_SECONDS."""
        now = monotonic()
        while self._raised_at and now - self._raised_at[0] >= STRAYS_SECONDS:
            self._raised_at.popleft()
        self._raised_at.append(now)
        return len(self._raised_at) < MOST_STRAYS
