"""Redis' time, as this worker knows it between heartbeats.

Events are stamped with Redis' clock, so that those of several workers compare and a wrong wall clock here changes
nothing. Between two readings the worker's monotonic clock carries it on.
"""

import time
from collections.abc import Callable


class RedisClock:
    """Gives Redis' milliseconds without asking; `set` it from a reply that carries them."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._offset_ms = 0.0

    def set(self, redis_ms: float, *, asked_at: float) -> None:
        """Take a reading that was asked for at `asked_at` (monotonic seconds) and has just come."""
        middle = (asked_at + self._monotonic()) / 2
        self._offset_ms = redis_ms - middle * 1000

    def now_ms(self) -> float:
        """Give Redis' time now, in milliseconds."""
        return self._monotonic() * 1000 + self._offset_ms
