"""How long each try to save one state may take, so that all of them together keep no outcome waiting for long.

The first has most of a snapshot's time, since it nearly always is the only one. When it fails, one variable is left
out, and the next has half of what is left, but always enough to save a state that has nothing wrong with it. A state of
which variable after variable hangs is given up in the end: what could take time is left out, all at once.
"""

from typing import Final

from skep_workers.session.clock import monotonic

FIRST_SHARE: Final = 0.75
NEXT_SHARE: Final = 0.5
LEAST_SHARE: Final = 0.05
LEAST_SECONDS: Final = 2.0
MOST_LIMITS: Final = 2  # after so many times the limit, and as many of the shortest tries, nothing more is tried
MOST_SHORT_TRIES: Final = 10


class Patience:
    """The tries to save one state."""

    def __init__(self) -> None:
        self._began_at = 0.0
        self._tries = 0
        self.is_over = False

    def seconds(self, limit: float) -> float:
        """Return how long the next try may take, if a snapshot has this limit."""
        self._tries += 1
        if self._tries == 1:
            self._began_at = monotonic()
            return limit * FIRST_SHARE
        elapsed = monotonic() - self._began_at
        least = min(limit, max(limit * LEAST_SHARE, LEAST_SECONDS))
        self.is_over = elapsed > MOST_LIMITS * limit + MOST_SHORT_TRIES * least
        return max((limit - elapsed) * NEXT_SHARE, least)

    def reset(self) -> None:
        """Start again: a state was saved."""
        self._tries, self.is_over = 0, False
