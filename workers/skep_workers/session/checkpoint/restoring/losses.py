"""What can't be made while a stream is read, and everything that holds it.

A stream is a graph: an object that can't be made is lost, and so is each object that reaches it, also one that was
read before it in a cycle. Everything else of the stream is not.
"""

from collections.abc import Iterable
from typing import Any, Final

_ATOMS: Final = frozenset({str, bytes, int, float, complex, bool, type(None)})


class Lost:
    """Stands where an object could not be made."""


class Losses:
    """The objects of one stream that are lost, by id, with the reason; it keeps alive what it has noted."""

    def __init__(self) -> None:
        self._reasons: dict[int, str] = {}
        self._holders: dict[int, list[int]] = {}  # object -> what holds it
        self._kept: list[Any] = []

    def __bool__(self) -> bool:
        return bool(self._reasons)

    def reason(self, value: Any) -> str | None:
        """Return why this object is lost, or None if it isn't."""
        return self._reasons.get(id(value))

    def first_reason(self, values: Iterable[Any]) -> str | None:
        """Return why one of these objects is lost, or None if none is."""
        reasons = self._reasons
        if not reasons:
            return None
        return next((reasons[id(value)] for value in values if id(value) in reasons), None)

    def keep(self, value: Any) -> None:
        """Keep an object alive: its id must not become another one's."""
        self._kept.append(value)

    def make(self, reason: str) -> Lost:
        """Return a stand-in for an object that can't be made."""
        lost = Lost()
        self._kept.append(lost)
        self._reasons[id(lost)] = reason
        return lost

    def hold(self, holder: Any, items: Iterable[Any]) -> None:
        """Note that one object holds others; a loss among them is its loss."""
        number, holders, reasons = id(holder), self._holders, self._reasons
        for item in items:
            if type(item) in _ATOMS:
                continue
            child = id(item)
            if child in reasons:
                self.lose(holder, reasons[child])
            else:
                holders.setdefault(child, []).append(number)

    def lose(self, value: Any, reason: str) -> None:
        """Note that an object is lost, and with it all that hold it."""
        pending = [id(value)]
        while pending:
            number = pending.pop()
            if number not in self._reasons:
                self._reasons[number] = reason
                pending += self._holders.pop(number, ())
