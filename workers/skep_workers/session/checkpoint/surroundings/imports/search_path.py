"""`sys.path`, with entries of any type."""

import sys
from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

from skep_workers.session.checkpoint.surroundings.part import Part, Reading

_WHOLE = "sys.path"


class SearchPath(Part):
    """The entries of `sys.path`.

    Entries that are no plain strings (a Path, a string of a cell's class) are saved as objects, since their classes may
    be the session's own. Until the object itself is restored, imports see the text of such a string.
    """

    name = "path"
    is_needed_by_loading = True

    def __init__(self) -> None:
        self._first: tuple[Any, ...] = tuple(sys.path)

    def begin(self) -> None:
        """Record the entries that the process was started with."""
        self._first = tuple(sys.path)

    def change_from_start(self, change: Callable[[Sequence[Any]], list[Any]]) -> None:
        """Change the entries, as if the process had begun with the new ones."""
        entries, first = sys.path, self._first
        if type(entries) is not list:
            return
        is_unchanged = len(entries) == len(first) and all(map(is_, entries, first))
        entries[:] = change(entries)
        self._first = tuple(entries if is_unchanged else change(first))

    def read(self) -> Reading | None:
        """Return the entries: plain ones, and a text or None in place of others."""
        entries, first = sys.path, self._first
        if type(entries) is not list:
            return [], {_WHOLE: entries}
        if len(entries) == len(first) and all(map(is_, entries, first)):
            return None
        odd = {_named(index): entry for index, entry in enumerate(entries) if type(entry) is not str}
        return [_text(entry) for entry in entries], odd

    def restore(self, state: Any) -> None:
        """Set the plain entries, and the texts of others."""
        if state:
            sys.path[:] = [entry for entry in state if entry is not None]

    def restore_objects(self, state: Sequence[Any], objects: dict[str, Any]) -> None:
        """Set the entries that are objects."""
        if _WHOLE in objects:
            sys.path = objects[_WHOLE]
            return
        entries = [objects.get(_named(index), entry) for index, entry in enumerate(state)]
        sys.path[:] = [entry for entry in entries if entry is not None]


def _named(index: int) -> str:
    return f"{_WHOLE}[{index}]"


def _text(entry: Any) -> str | None:
    if type(entry) is str:
        return entry
    return str.__str__(entry) if issubclass(type(entry), str) else None
