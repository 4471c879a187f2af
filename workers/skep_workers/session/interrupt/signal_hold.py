"""Keeps signals that user code handles out of the engine.

Python runs a signal's handler between any two steps of the main thread. If a cell's handler raises (for instance an
alarm that ends a slow call), the exception would cut the engine short: a frame that was read would be lost, or a cell
would never end. So if cells handle signals, these are blocked while the engine works on the main thread, and delivered
when user code, or the loop, continues. This costs one comparison of the handlers after each cell that may have changed
them. Only a session with handlers pays more.
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

from skep_workers.session.compilation.plain_cells import Uses

_HANDLED: Final = tuple(
    int(getattr(signal, f"SIG{name}"))
    for name in (
        "HUP", "INT", "QUIT", "USR1", "USR2", "PIPE", "ALRM", "TERM", "CHLD", "XCPU", "VTALRM", "PROF", "WINCH", "IO",
    )
)  # fmt: skip


class SignalHold:
    """Blocks and unblocks these signals. Only the main thread uses this."""

    def __init__(self) -> None:
        self._first: tuple[Any, ...] = ()
        self._before: set[int] | None = None
        self._has_handlers = False
        self.is_held = False

    def begin(self) -> None:
        """Record the present handlers as the engine's."""
        self._first = tuple(map(getsignal, _HANDLED))
        self._before, self._has_handlers, self.is_held = None, False, False

    def changed(self) -> list[tuple[int, Any]]:
        """Return the signals that cells handle now, with their handlers."""
        now = tuple(map(getsignal, _HANDLED))
        if now == self._first:
            return []
        pairs = zip(_HANDLED, now, self._first, strict=True)
        return [(number, handler) for number, handler, first in pairs if handler != first]

    def block_after(self, uses: Uses | None) -> None:
        """Block the signals, if cells handle any, after a cell that has used this; None means anything.

        Raises nothing, whatever a handler raises meanwhile.
        """
        while uses is None:
            try:
                self._has_handlers = tuple(map(getsignal, _HANDLED)) != self._first
                break
            except BaseException:  # noqa: BLE001, S112 - see below
                continue
        self.block()

    def block(self) -> None:
        """Block the signals, if cells handled any when the last cell's code ended. Raises nothing, as above."""
        while self._has_handlers and not self.is_held:
            try:
                if self._before is None:
                    self._before = pthread_sigmask(SIG_BLOCK, ())
                pthread_sigmask(SIG_BLOCK, _HANDLED)
                self.is_held = True
            except BaseException:  # noqa: BLE001, S112 - a handler's, in the engine's last step before they are blocked
                continue

    def release(self) -> None:
        """Unblock the signals. Raises what a handler raises."""
        if self.is_held:
            before, self._before, self.is_held = self._before, None, False
            pthread_sigmask(SIG_SETMASK, before or ())

    def release_safely(self, report: Callable[[BaseException], object]) -> None:
        """Unblock the signals where no user code runs. `report` gets what a handler raises."""
        try:
            self.release()
        except BaseException as exc:  # noqa: BLE001 - user code
            report(exc)


def unblock_all() -> None:
    """Unblock all signals, in a forked process of the engine that uses them itself."""
    pthread_sigmask(SIG_SETMASK, ())
