"""When to ask again for sessions that wait: what was asked for may be lost, but most times it only takes its time.

Asking costs the queue a job. Were every session that waits asked for again and again at the same pace, workers that
have much to do would have ever more to do, and new sessions would wait behind jobs that find nothing to do any more.
"""

from typing import Final

FIRST_SECONDS: Final = 0.4
LONGEST_SECONDS: Final = 4.0
MOST_REMEMBERED: Final = 10_000


class Reminders:
    """The sessions that one worker has asked for, and when it may ask again: after twice as long each time."""

    def __init__(self) -> None:
        self._asked: dict[str, tuple[float, float]] = {}

    def take(self, session_id: str, now: float) -> bool:
        """Tell whether it is time to ask for a session (`now` in monotonic seconds), and count it as asked for."""
        at, pause = self._asked.get(session_id, (now - LONGEST_SECONDS, 0.0))
        if now - at < pause:
            return False
        has_waited_on = now - at < 2 * LONGEST_SECONDS
        self._asked.pop(session_id, None)  # the latest one is the last
        self._asked[session_id] = (now, min(2 * pause, LONGEST_SECONDS) if pause and has_waited_on else FIRST_SECONDS)
        if len(self._asked) > MOST_REMEMBERED:
            del self._asked[next(iter(self._asked))]
        return True

    def forget(self, session_id: str) -> None:
        """Begin anew with a session: its owner has died."""
        self._asked.pop(session_id, None)
