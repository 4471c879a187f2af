"""Checkpoints that are written by themselves, and not with the commit of a cell."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from skep_shared.errors import SkepError
from skep_workers.host.checkpoint.writer import SavedState

MakeState = Callable[[], Awaitable[SavedState]]


class Amendment:
    """A checkpoint to be made from the latest one; `written` is done when it is written."""

    def __init__(self, make_state: MakeState) -> None:
        self.make_state = make_state
        self.written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def complete(self) -> None:
        """Report that it is written, unless its caller was cancelled."""
        if not self.written.done():
            self.written.set_result(None)

    def fail(self, exc: Exception) -> None:
        """Report that it can't be written, unless its caller was cancelled."""
        if not self.written.done():
            self.written.set_exception(exc)


class SeparateCheckpoints:
    """The separate checkpoints of one session that wait to be written."""

    def __init__(self) -> None:
        self._states: deque[SavedState] = deque()
        self._amendments: deque[Amendment] = deque()
        self.is_empty = True  # an attribute: the journal reads it several times a cell

    def add(self, state: SavedState) -> None:
        """Add a checkpoint that is written once the cells up to it have committed."""
        self._states.append(state)
        self.is_empty = False

    def add_amendment(self, make_state: MakeState) -> asyncio.Future[None]:
        """Add a checkpoint that is made from the latest one; return a future that is done when it is written."""
        amendment = Amendment(make_state)
        self._amendments.append(amendment)
        self.is_empty = False
        return amendment.written

    def is_due(self, cursor: int) -> bool:
        """Return whether the cells up to the first checkpoint have committed."""
        return bool(self._states) and self._states[0].seq <= cursor

    def pop(self) -> SavedState:
        """Remove and return the first checkpoint."""
        state = self._states.popleft()
        self.is_empty = not (self._states or self._amendments)
        return state

    @property
    def amendment(self) -> Amendment | None:
        """The first amendment, None without one."""
        return self._amendments[0] if self._amendments else None

    def remove_amendment(self) -> None:
        """Remove the first amendment: it is written, or failed."""
        self._amendments.popleft()
        self.is_empty = not (self._states or self._amendments)

    def fail(self, exc: SkepError) -> None:
        """Make every amendment fail: the journal has ended."""
        for amendment in self._amendments:
            if not amendment.written.done():
                amendment.fail(exc)
                amendment.written.exception()  # retrieved: its caller may have been cancelled
