"""Keeping signals of user code out of the engine.

Python runs a signal's handler between any two steps of the main thread. A handler of a cell that raises (an alarm that
ends what takes too long) would then cut the engine short: a frame that was read would be lost, a cell would never end.
So where cells handle signals, these are blocked while the engine works on the main thread, and come when user code, or
the loop, goes on. It costs a look at the handlers after each cell that may have changed them; only a session that has
some pays more.
"""

import signal
from _signal import (  # type: ignore[import-not-found]  # signal's own make enums of them
    SIG_BLOCK,
    SIG_SETMASK,
    getsignal,
    pthread_sigmask,
)
from collections.abc import Callable
from typing import Any, Final

from skep_workers.session.uses import Uses

_HANDLED: Final = tuple(
    int(getattr(signal, f"SIG{name}"))
    for name in (
        "HUP", "INT", "QUIT", "USR1", "USR2", "PIPE", "ALRM", "TERM", "CHLD", "XCPU", "VTALRM", "PROF", "WINCH", "IO",
    )
)  # fmt: skip


class SignalHold:
    """Blocks them and lets them come; all of it belongs to the main thread."""

    def __init__(self) -> None:
        self._first: tuple[Any, ...] = ()
        self._before: set[int] | None = None
        self._has_handlers = False
        self.is_held = False

    def begin(self) -> None:
        """Take the handlers that there are now as the engine's."""
        self._first = tuple(map(getsignal, _HANDLED))
        self._before, self._has_handlers, self.is_held = None, False, False

    def take_after(self, uses: Uses | None) -> None:
        """Block the signals, if cells handle any after one that has used this; None: it may have used anything.

        Raises nothing, whatever a handler raises meanwhile.
        """
        while uses is None:
            try:
                self._has_handlers = tuple(map(getsignal, _HANDLED)) != self._first
                break
            except BaseException:  # noqa: BLE001, S112 - see below
                continue
        self.take()

    def take(self) -> None:
        """Block the signals, if cells handled any when code of theirs last ended; raises nothing, as above."""
        while self._has_handlers and not self.is_held:
            try:
                if self._before is None:
                    self._before = pthread_sigmask(SIG_BLOCK, ())
                pthread_sigmask(SIG_BLOCK, _HANDLED)
                self.is_held = True
            except BaseException:  # noqa: BLE001, S112 - a handler's, in the engine's last step before they are blocked
                continue

    def release(self) -> None:
        """Let them come; what a handler raises is raised here."""
        if self.is_held:
            before, self._before, self.is_held = self._before, None, False
            pthread_sigmask(SIG_SETMASK, before or ())

    def release_safely(self, tell: Callable[[BaseException], object]) -> None:
        """Let them come where no user code runs; what a handler raises is told."""
        try:
            self.release()
        except BaseException as exc:  # noqa: BLE001 - user code
            tell(exc)


def unblock_all() -> None:
    """Block no signal any more, in a forked process of the engine's that uses them itself."""
    pthread_sigmask(SIG_SETMASK, ())
