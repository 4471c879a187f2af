"""Protection from interrupts for the parts of the engine that run inside user code."""

from collections.abc import Callable
from threading import get_ident  # bound early: user code may patch threading
from typing import Final


class Shield:
    """A context manager for code of the engine that must not be interrupted halfway.

    Only the main thread is interrupted, so in other threads this does nothing. If not even an exception on entry may
    happen, the caller increments `depth` itself: no signal handler can run in the middle of that.
    """

    def __init__(self) -> None:
        self._main_thread: Final = get_ident()
        self.depth = 0
        self._on_exit: Callable[[], None] | None = None

    def defer(self, action: Callable[[], None]) -> bool:
        """Return whether the main thread is inside. If so, `action` runs at its exit; a later action replaces it."""
        if self.depth:
            self._on_exit = action
            return True
        return False

    @property
    def has_deferred(self) -> bool:
        """Return whether an action waits for the main thread's exit."""
        return self._on_exit is not None

    def __enter__(self) -> None:
        if get_ident() == self._main_thread:
            self.depth += 1

    def __exit__(self, *exc_info: object) -> None:
        if get_ident() == self._main_thread:
            self.leave()

    def leave(self) -> None:
        """Decrement the depth. At zero the deferred action runs, and may raise."""
        self.depth -= 1
        if not self.depth and self._on_exit is not None:
            action, self._on_exit = self._on_exit, None
            action()
