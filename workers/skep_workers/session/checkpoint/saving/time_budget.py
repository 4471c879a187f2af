"""How long each attempt to save one state may take, so that all of them together delay no outcome for long.

The first attempt has most of a snapshot's time, since it nearly always is the only one. When it fails, one variable is
left out, and the next attempt has half of the remaining time, but always enough to save a state without faults. If
variable after variable hangs, the state is given up in the end: everything that could take time is left out at once.
"""

from typing import Final

from skep_workers.session.safeguards.clock import monotonic

FIRST_SHARE: Final = 0.75
NEXT_SHARE: Final = 0.5
LEAST_SHARE: Final = 0.05
LEAST_SECONDS: Final = 2.0
MOST_LIMITS: Final = 2  # the state is given up after this many times the limit
MOST_SHORT_TRIES: Final = 10  # and, in addition, the time of this many shortest attempts


class TimeBudget:
    """The time for the attempts to save one state."""

    def __init__(self) -> None:
        self._began_at = 0.0
        self._tries = 0
        self.is_over = False

    def next_seconds(self, limit: float) -> float:
        """Return how long the next attempt may take, if a snapshot has this limit."""
        self._tries += 1
        if self._tries == 1:
            self._began_at = monotonic()
            return limit * FIRST_SHARE
        elapsed = monotonic() - self._began_at
        least = min(limit, max(limit * LEAST_SHARE, LEAST_SECONDS))
        self.is_over = elapsed > MOST_LIMITS * limit + MOST_SHORT_TRIES * least
        return max((limit - elapsed) * NEXT_SHARE, least)

    def reset(self) -> None:
        """Start again, once a state was saved."""
        self._tries, self.is_over = 0, False
