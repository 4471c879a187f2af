"""Fingerprints of the events that a reader has seen, to detect that the log has become another one."""

from collections import deque
from collections.abc import Sequence
from typing import Final

# Remembered are the latest 64 events, then the latest 64 of every 64th event, of every 4096th event, and so on: this
# reaches far back with little memory.
POINTS: Final = 64
LEVELS: Final = 5


class Trail:
    """The number of the last event seen, and fingerprints of some of the events up to it."""

    def __init__(self, seen: int) -> None:
        self.seen = seen
        self._levels: list[deque[tuple[int, int]]] = [deque(maxlen=POINTS) for _ in range(LEVELS)]
        self._latest = self._levels[0]

    def add(self, number: int, packed: bytes) -> None:
        """Add an event that was read."""
        self.seen = number
        fingerprint = hash(packed)
        self._latest.append((number, fingerprint))
        if number % POINTS == 0:
            for level, points in enumerate(self._levels[1:], start=1):
                if number % POINTS**level:
                    return
                points.append((number, fingerprint))

    def add_all(self, first: int, events: Sequence[bytes]) -> None:
        """Add consecutive events from number `first` on."""
        latest = max(0, len(events) - POINTS)
        for place in range(-first % POINTS, latest, POINTS):
            self.add(first + place, events[place])
        for place in range(latest, len(events)):
            self.add(first + place, events[place])

    def agrees(self, number: int, packed: bytes) -> bool:
        """Return whether these may be the bytes of event `number`.

        A resumed reader has not seen the event that it starts after; its fingerprint is added here.
        """
        fingerprint = self._points().get(number)
        if fingerprint is None and number == self.seen:
            self.add(number, packed)
        return fingerprint in {None, hash(packed)}

    def points(self) -> list[int]:
        """Return the numbers of the events that are remembered, in order."""
        return sorted(self._points())

    def go_back(self, number: int) -> None:
        """Forget the events after event `number`."""
        self.seen = number
        for points in self._levels:
            while points and points[-1][0] > number:
                points.pop()

    def _points(self) -> dict[int, int]:
        return dict(point for points in self._levels for point in points)
