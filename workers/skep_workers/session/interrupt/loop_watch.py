"""Whether the session's loop is held up by code that blocks in it."""

from typing import Final

from skep_workers.session.runtime.loop import SessionLoop
from skep_workers.session.safeguards.clock import monotonic

HELD_UP_SECONDS: Final = 0.05


class LoopWatch:
    """Schedules a callback, and checks later whether the loop has called it."""

    def __init__(self, loop: SessionLoop) -> None:
        self._loop = loop
        self._scheduled_at: float | None = None

    def is_held_up(self) -> bool:
        """Return whether the loop has not called the callback of an earlier check within HELD_UP_SECONDS."""
        scheduled_at = self._scheduled_at
        if scheduled_at is None:
            self._scheduled_at = monotonic()
            self._loop.call_soon_threadsafe(self._on_turn)
            return False
        return monotonic() - scheduled_at > HELD_UP_SECONDS

    def _on_turn(self) -> None:
        self._scheduled_at = None
