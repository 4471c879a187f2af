"""The event loop of a session: asyncio's own, which also tells whether user code has work for it."""

import asyncio
import selectors
from typing import Any

OWN_DESCRIPTORS = 2  # the loop's wake-up socket and the cell socket


class SessionLoop(asyncio.SelectorEventLoop):
    """A selector loop that user code can't close, since it lives as long as the session."""

    def __init__(self) -> None:
        self._chosen = selectors.DefaultSelector()
        super().__init__(self._chosen)

    @property
    def has_work(self) -> bool:
        """Tell whether tasks, timers or descriptors of user code wait for it; called while it does not run."""
        timers: list[Any] = getattr(self, "_scheduled", [])
        return bool(asyncio.all_tasks(self)) or bool(timers) or len(self._chosen.get_map()) > OWN_DESCRIPTORS

    def close(self) -> None:
        """Stay open: a cell that closes it would take every later cell's loop away."""
