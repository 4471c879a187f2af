"""Objects that can't be made while a stream is read, and all objects that hold them.

A stream is a graph. An object that can't be made is lost, and so is each object that reaches it, including one that was
read before it in a cycle. All other objects of the stream are kept.
"""

from collections.abc import Iterable
from typing import Any, Final

_ATOMS: Final = frozenset({str, bytes, int, float, complex, bool, type(None)})


class Lost:
    """A stand-in for an object that could not be made."""


class Losses:
    """The lost objects of one stream, by id, with reasons. Objects that were noted here are kept alive."""

    def __init__(self) -> None:
        self._reasons: dict[int, str] = {}
        # Id of an object -> the object, so that no other one gets its id, and the ids of its holders.
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

    def keep_alive(self, value: Any) -> None:
        """Keep an object alive: its id must not be reused."""
        self._kept.append(value)

    def make(self, reason: str) -> Lost:
        """Return a stand-in for an object that can't be made."""
        lost = Lost()
        self._kept.append(lost)
        self._reasons[id(lost)] = reason
        return lost

    def note_contents(self, holder: Any, items: Iterable[Any]) -> None:
        """Note that one object holds others; if one of them is lost, so is the holder."""
        if type(kind := type(holder)) is type and kind in _ATOMS:  # the result of a call that was made for its effect
            return
        number, holders, reasons = id(holder), self._holders, self._reasons
        for item in items:
            if type(kind := type(item)) is type and kind in _ATOMS:  # a metaclass may compare by code of its own
                continue
            child = id(item)
            if child in reasons:
                self.lose(holder, reasons[child])
            elif child in holders:
                holders[child][1].append(number)
            else:
                holders[child] = item, [number]

    def lose(self, value: Any, reason: str) -> None:
        """Note that an object is lost, and all its holders with it."""
        self._kept.append(value)
        pending = [id(value)]
        while pending:
            number = pending.pop()
            if number not in self._reasons:
                self._reasons[number] = reason
                item, holders = self._holders.pop(number, (None, []))
                self._kept.append(item)
                pending += holders
