"""When to request the activation of a waiting session again: a request may get lost, but mostly it is only delayed.

Each request costs the queue a job. If every waiting session were requested again and again at the same pace, busy
workers would get even more jobs, and new sessions would wait behind jobs that no longer find anything to do.
"""

from typing import Final

FIRST_SECONDS: Final = 0.4
LONGEST_SECONDS: Final = 4.0
MOST_REMEMBERED: Final = 10_000


class ActivationBackoff:
    """The sessions that one worker has requested, and when it may request each again: after twice as long each time."""

    def __init__(self) -> None:
        self._requested: dict[str, tuple[float, float]] = {}  # session id -> when, and the pause after that

    def record_if_due(self, session_id: str, now: float) -> bool:
        """Return whether a session may be requested at `now` (monotonic seconds); if so, record the request."""
        at, pause = self._requested.get(session_id, (now - LONGEST_SECONDS, 0.0))
        if now - at < pause:
            return False
        has_waited_on = now - at < 2 * LONGEST_SECONDS
        pause = min(2 * pause, LONGEST_SECONDS) if pause and has_waited_on else FIRST_SECONDS
        self._requested.pop(session_id, None)  # keeps the dict in order of time
        self._requested[session_id] = (now, pause)
        if len(self._requested) > MOST_REMEMBERED:
            del self._requested[next(iter(self._requested))]
        return True

    def forget(self, session_id: str) -> None:
        """Start again with the shortest pause for a session: its owner has died."""
        self._requested.pop(session_id, None)
