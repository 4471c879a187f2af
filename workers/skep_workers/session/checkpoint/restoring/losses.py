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
        # Id of an object -> itself, so that no other one gets its id, and the ids of what holds it.
        self._holders: dict[int, tuple[Any, list[int]]] = {}
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
        if type(holder) in _ATOMS:  # what a call returned that was made for its effect
            return
        number, holders, reasons = id(holder), self._holders, self._reasons
        for item in items:
            if type(item) in _ATOMS:
                continue
            child = id(item)
            if child in reasons:
                self.lose(holder, reasons[child])
            elif child in holders:
                holders[child][1].append(number)
            else:
                holders[child] = item, [number]

    def lose(self, value: Any, reason: str) -> None:
        """Note that an object is lost, and with it all that hold it."""
        self._kept.append(value)
        pending = [id(value)]
        while pending:
            number = pending.pop()
            if number not in self._reasons:
                self._reasons[number] = reason
                item, holders = self._holders.pop(number, (None, []))
                self._kept.append(item)
                pending += holders
