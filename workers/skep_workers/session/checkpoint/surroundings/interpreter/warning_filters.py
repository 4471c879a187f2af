"""The filters of the module `warnings`, of any category."""

import builtins
import re
import warnings
from collections.abc import Sequence
from operator import is_
from typing import Any, Final

from skep_workers.session.checkpoint.surroundings.part import Part, Reading

_FILTER_FIELDS: Final = 5  # action, message, category, module, line number


class WarningFilters(Part):
    """The list of filters, in order.

    Built-in categories are saved by name. A library's or a cell's category is an object, saved like any class; so is
    a whole filter if the functions of `warnings` can't have made it.
    """

    name = "filters"

    def __init__(self) -> None:
        self._first: tuple[Any, ...] = tuple(warnings.filters)
        self._latest: tuple[tuple[Any, ...], Reading] | None = None

    def begin(self) -> None:
        """Record the filters that the process was started with."""
        self._first = tuple(warnings.filters)

    def read(self) -> Reading | None:
        """Return the filters, if they have changed since the start."""
        filters: Sequence[Any] = warnings.filters
        if len(filters) == len(self._first) and all(map(is_, filters, self._first)):
            return None
        latest = self._latest
        if latest is not None and len(filters) == len(latest[0]) and all(map(is_, filters, latest[0])):
            return latest[1]
        plain: list[Any] = []
        objects: dict[str, Any] = {}
        for index, item in enumerate(filters):
            known = _plain(item)
            plain.append(known)
            if known is None:
                objects[_named(index)] = item
            elif known[2] is None:
                objects[_category_of(index)] = item[2]
        self._latest = tuple(filters), (plain, objects)
        return self._latest[1]

    def restore(self, state: Any) -> None:
        """Restore the filters whose categories are built in."""
        self.restore_objects(state, {})

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Restore all filters, in order."""
        found = [_restored(index, known, objects) for index, known in enumerate(state)]
        warnings.filters[:] = [item for item in found if item is not None]  # type: ignore[index]
        with warnings.catch_warnings():  # this resets the cache of earlier decisions
            pass


def _named(index: int) -> str:
    return f"warnings.filters[{index}]"


def _category_of(index: int) -> str:
    return f"{_named(index)}.category"


def _plain(item: Any) -> tuple[Any, ...] | None:
    """Return a filter as plain data, without a category that isn't built in; None if it is no usual filter."""
    if type(item) is not tuple or len(item) != _FILTER_FIELDS:
        return None
    action, message, category, module, line = item
    if type(action) is not str or type(line) is not int or not isinstance(category, type):
        return None
    texts = [_plain_pattern(message), _plain_pattern(module)]
    if () in texts:
        return None
    is_built_in = vars(builtins).get(category.__name__) is category
    return action, texts[0], category.__name__ if is_built_in else None, texts[1], line


def _plain_pattern(pattern: Any) -> Any:
    """Return a pattern as its text and flags; () if it is neither a pattern nor a text nor None."""
    if pattern is None or type(pattern) is str:
        return pattern
    if type(pattern) is re.Pattern and type(pattern.pattern) is str:
        return [pattern.pattern, pattern.flags]
    return ()


def _restored(index: int, known: tuple[Any, ...] | None, objects: dict[str, Any]) -> tuple[Any, ...] | None:
    if known is None:
        return objects.get(_named(index))
    if callable(getattr(known[2], "mro", None)):  # written by version 0.1.0, with patterns and classes as objects
        return known
    action, message, name, module, line = known
    category = getattr(builtins, name) if name is not None else objects.get(_category_of(index))
    return None if category is None else (action, _pattern(message), category, _pattern(module), line)


def _pattern(known: Any) -> Any:
    return re.compile(*known) if type(known) is list else known
