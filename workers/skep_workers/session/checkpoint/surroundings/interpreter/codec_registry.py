"""Codecs and error handlers that cells have registered.

No function of the interpreter lists them. The garbage collector finds the list of search functions, which refers to a
function that is registered for that purpose, and the dict of error handlers, which refers to a built-in handler. If it
doesn't find them, none of this is saved.
"""

import codecs
from types import FunctionType
from typing import Any, Final

from skep_shared.originals import gc
from skep_workers.session.checkpoint.reducers.definitions import is_found
from skep_workers.session.checkpoint.surroundings.part import Part, Reading

_SEARCH: Final = "codecs.register[{}]"
_ERRORS: Final = "codecs.register_error[{!r}]"
_KNOWN: Final = ("strict", "ignore")


class CodecRegistry(Part):
    """Codecs registered since the start, except those of libraries, whose import registers them again."""

    name = "codecs"

    def __init__(self) -> None:
        self._functions, self._handlers = _FUNCTIONS, _HANDLERS
        self.begin()

    def begin(self) -> None:
        """Record what is registered when the process starts."""
        self._first_functions, self._first_handlers = list(self._functions), dict(self._handlers)
        self._counts = len(self._functions), len(self._handlers)

    def read(self) -> Reading | None:
        """Return the functions that were registered, and the names of the error handlers."""
        if (len(self._functions), len(self._handlers)) == self._counts:
            return None
        known = set(map(id, self._first_functions))
        functions = [each for each in self._functions if id(each) not in known and not _is_a_librarys(each)]
        handlers = {
            name: handler
            for name, handler in self._handlers.items()
            if self._first_handlers.get(name) is not handler and not _is_a_librarys(handler)
        }
        objects = {_SEARCH.format(index): function for index, function in enumerate(functions)}
        objects |= {_ERRORS.format(name): handler for name, handler in handlers.items()}
        return ((len(functions), list(handlers)), objects) if objects else None

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Register them again, unless they are registered."""
        count, names = state
        for index in range(count):
            function = objects.get(_SEARCH.format(index))
            if function is not None and id(function) not in set(map(id, self._functions)):
                codecs.register(function)
        for name in names:
            if _ERRORS.format(name) in objects:
                codecs.register_error(name, objects[_ERRORS.format(name)])

    def forget(self, name: str, value: Any) -> None:
        """Unregister a codec; an error handler can't be unregistered."""
        if name.startswith("codecs.register["):
            codecs.unregister(value)


def _is_a_librarys(function: Any) -> bool:
    return type(function) is FunctionType and is_found(function, function.__module__, function.__qualname__)


def _search_functions() -> list[Any]:
    def find(_: str) -> None:
        return None

    codecs.register(find)
    try:
        lists = [each for each in gc.get_referrers(find) if type(each) is list and each[-1] is find]
    finally:
        codecs.unregister(find)
    return lists[0] if len(lists) == 1 else []


def _error_handlers() -> dict[str, Any]:
    first, *others = [codecs.lookup_error(name) for name in _KNOWN]
    found = [
        each
        for each in gc.get_referrers(first)
        if type(each) is dict and [each.get(name) for name in _KNOWN] == [first, *others]
    ]
    return found[0] if len(found) == 1 else {}


# Found at import, before a copy of either exists.
_FUNCTIONS: Final = _search_functions()
_HANDLERS: Final = _error_handlers()
