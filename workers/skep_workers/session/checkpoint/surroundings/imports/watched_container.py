"""What differs in one container of a library from the library's own content, and how to change it so again."""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Any, Final

from skep_workers.session.checkpoint.surroundings.imports.registrations import holds_own
from skep_workers.session.checkpoint.surroundings.object_memory import identities, table
from skep_workers.session.checkpoint.surroundings.part import is_plain

_DICTS: Final = frozenset({dict, OrderedDict, defaultdict})
CONTAINERS: Final = _DICTS | {list, deque, set}


class WatchedContainer:
    """A container of a library that cells may have changed."""

    def __init__(self, container: Any, name: str, changed_keys: AbstractSet[Any] | None) -> None:
        """Record the present content as the library's own.

        name: what the names of its changes begin with. changed_keys: None if no cell has changed it yet; otherwise keys
        that one has changed.
        """
        self.container: Final = container
        self._text: Final = name
        self._held: Any = None  # what the latest comparison has seen, which keeps it alive
        self._seen: bytes | None = None
        self._found: dict[str, Any] = {}
        self._own: Any = type(container)(container) if type(container) is not defaultdict else dict(container)
        self._deleted: AbstractSet[Any] = frozenset()
        if changed_keys is not None:
            self._leave_out(changed_keys)

    def read(self) -> dict[str, Any]:
        """Return what differs from the library's own content, by hidden names."""
        kind = type(self.container)
        seen = table(self.container) if kind in _DICTS else b""
        held = None
        if not seen:
            held = tuple(chain.from_iterable(self.container.items())) if kind in _DICTS else tuple(self.container)
            seen = identities(held)
        if seen != self._seen:
            self._held = held if held is not None else dict(self.container)
            self._seen = seen
            self._found = dict(self._changes())
        return self._found

    def _leave_out(self, keys: AbstractSet[Any]) -> None:
        if type(self.container) in _DICTS:
            self._deleted = keys - self.container.keys()
            self._own = {key: value for key, value in self._own.items() if key not in keys and not holds_own(value)}
        else:
            self._own = type(self.container)(each for each in self._own if not holds_own(each))

    def _changes(self) -> Iterator[tuple[str, Any]]:
        kind, own = type(self.container), self._own
        if kind in _DICTS:
            for number, (key, value) in enumerate(self.container.items()):
                if key not in own or own[key] is not value:
                    yield f"{self._text}[{_shown(key, number)}]", ("item", key, value)
            for number, key in enumerate([*(own.keys() - self.container.keys()), *self._deleted]):
                if key not in self.container:
                    yield f"{self._text}[{_shown(key, number)}]", ("no item", key)
        elif kind is set:
            if added := self.container - own:
                yield f"{self._text}[added]", ("added", added)
            if removed := own - self.container:
                yield f"{self._text}[removed]", ("removed", removed)
        elif (change := _list_change(list(own), list(self.container))) is not None:
            yield f"{self._text}[:]", ("slice", *change)


def _list_change(own: list[Any], now: list[Any]) -> tuple[int, int, list[Any]] | None:
    """Return where a list has changed, how many items of the library's that has replaced, and by which."""
    shorter = min(len(own), len(now))
    start = next((index for index in range(shorter) if own[index] is not now[index]), shorter)
    after = next((count for count in range(shorter - start) if own[-1 - count] is not now[-1 - count]), shorter - start)
    removed, items = len(own) - start - after, now[start : len(now) - after]
    return (start, removed, items) if removed or items else None


def _set_slice(container: Any, start: int, removed: int, items: list[Any]) -> None:
    content = list(container)
    content[start : start + removed] = items
    if type(container) is list:
        container[:] = content
    else:
        container.clear()
        container.extend(content)


CHANGES: Final[dict[str, Callable[..., object]]] = {
    "item": lambda container, key, value: container.__setitem__(key, value),
    "no item": lambda container, key: container.pop(key, None),
    "added": lambda container, items: container.update(items),
    "removed": lambda container, items: container.difference_update(items),
    "slice": _set_slice,
}


def _shown(key: Any, number: int) -> str:
    """Return a key as text, without running code of its type."""
    return repr(key) if is_plain(key) else f"<{type(key).__qualname__} {number}>"
