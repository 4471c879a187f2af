"""What a reader has seen of a session's log, so that it can tell whether the log is still the same one."""

from collections import deque
from collections.abc import Sequence
from typing import Final

POINTS: Final = 64  # the latest 64 events, the latest 64 of each 64th, of each 4096th …: far back with little memory
LEVELS: Final = 5


class Trail:
    """The number of the last event seen, and fingerprints of some of those on the way."""

    def __init__(self, seen: int) -> None:
        self.seen = seen
        self._levels: list[deque[tuple[int, int]]] = [deque(maxlen=POINTS) for _ in range(LEVELS)]
        self._latest = self._levels[0]

    def add(self, number: int, packed: bytes) -> None:
        """Take an event that was read."""
        self.seen = number
        fingerprint = hash(packed)
        self._latest.append((number, fingerprint))
        if number % POINTS == 0:
            for level, points in enumerate(self._levels[1:], start=1):
                if number % POINTS**level:
                    return
                points.append((number, fingerprint))

    def add_all(self, first: int, events: Sequence[bytes]) -> None:
        """Take events that follow each other from number `first` on."""
        latest = max(0, len(events) - POINTS)
        for place in range(-first % POINTS, latest, POINTS):
            self.add(first + place, events[place])
        for place in range(latest, len(events)):
            self.add(first + place, events[place])

    def agrees(self, number: int, packed: bytes) -> bool:
        """Tell whether these may be the bytes of event `number`; what a resumed reader begins behind is met here."""
        fingerprint = self._points().get(number)
        if fingerprint is None and number == self.seen:
            self.add(number, packed)
        return fingerprint in {None, hash(packed)}

    def points(self) -> list[int]:
        """Give the numbers of the events that are remembered, in order."""
        return sorted(self._points())

    def go_back(self, number: int) -> None:
        """Forget what was seen behind event `number`."""
        self.seen = number
        for points in self._levels:
            while points and points[-1][0] > number:
                points.pop()

    def _points(self) -> dict[int, int]:
        return dict(point for points in self._levels for point in points)
