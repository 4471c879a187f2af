"""Redis's time, as this worker estimates it between heartbeats.

Events are stamped with Redis's clock, so that the times of several workers can be compared and a wrong wall clock of a
worker doesn't matter. Between two readings the worker's monotonic clock advances the estimate.
"""

import time
from collections.abc import Callable


class RedisClock:
    """Estimates Redis's time in milliseconds without a call; replies that contain it are passed to `set`."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._offset_ms = 0.0

    def set(self, redis_ms: float, *, asked_at: float) -> None:
        """Set the clock to a reading that was requested at `asked_at` (monotonic seconds) and has just arrived."""
        middle = (asked_at + self._monotonic()) / 2
        self._offset_ms = redis_ms - middle * 1000

    def now_ms(self) -> float:
        """Return Redis's time now, in milliseconds."""
        return self._monotonic() * 1000 + self._offset_ms
