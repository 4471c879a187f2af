"""Keeping interrupts out of the parts of the engine that run inside user code."""

from collections.abc import Callable
from threading import get_ident  # bound early: user code may patch threading
from typing import Final


class Shield:
    """A part of the engine inside user code that must not be cut in two, as a context manager.

    Only the main thread is interrupted, so only there it counts; other threads pass through. Where even an exception on
    the way in would leave something undone, `depth` is raised by hand, which no signal handler can come between.
    """

    def __init__(self) -> None:
        self._main_thread: Final = get_ident()
        self.depth = 0
        self._on_exit: Callable[[], None] | None = None

    def defer(self, action: Callable[[], None]) -> bool:
        """Tell whether the main thread is inside; if so, `action` runs when it leaves. The last one counts."""
        if self.depth:
            self._on_exit = action
            return True
        return False

    @property
    def is_waited_for(self) -> bool:
        """Tell whether an action waits for the main thread to leave."""
        return self._on_exit is not None

    def __enter__(self) -> None:
        if get_ident() == self._main_thread:
            self.depth += 1

    def __exit__(self, *exc_info: object) -> None:
        if get_ident() == self._main_thread:
            self.leave()

    def leave(self) -> None:
        """Lower the depth by one; the action that was deferred runs, and may raise."""
        self.depth -= 1
        if not self.depth and self._on_exit is not None:
            action, self._on_exit = self._on_exit, None
            action()
