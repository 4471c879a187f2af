"""Built-in functions as they were before any cell ran, for parts of the engine that call the standard library.

A cell, or a test tool in it, may have replaced `__import__`, `open` or `len`. Python code of the standard library uses
those too (`ast.walk` imports something each time). So the engine restores the original ones while it compiles a cell,
and in the processes that it forks.
"""

import builtins
from operator import is_
from typing import Any, Final

_NAMES: Final = (
    "__import__", "open", "print", "len", "isinstance", "issubclass", "type", "getattr", "setattr", "hasattr", "iter",
    "next", "repr", "str", "int", "list", "dict", "set", "tuple", "range", "enumerate", "zip", "map", "filter",
    "sorted", "min", "max", "any", "all", "id", "hash", "callable", "compile", "eval", "exec", "vars",
)  # fmt: skip
_CHECKED: Final = ("__import__", "open", "len", "isinstance", "getattr", "type", "compile")  # at each entry
_names: Final[dict[str, Any]] = vars(builtins)
_first: Final = tuple(_names[name] for name in _NAMES)
_first_checked: Final = tuple(_names[name] for name in _CHECKED)
_get: Final = _names.get
_is_same: Final = is_
_all, _map, _tuple, _zip = all, map, tuple, zip


class OriginalBuiltins:
    """A context manager in which the built-in functions are the original ones. It restores the cell's at its end."""

    def __init__(self) -> None:
        self._replaced: tuple[Any, ...] | None = None

    def __enter__(self) -> None:
        self._replaced = None
        if not _all(_map(_is_same, _map(_get, _CHECKED), _first_checked)):
            self._replaced = _tuple(_map(_get, _NAMES))
            restore()

    def __exit__(self, *exc_info: object) -> None:
        if self._replaced is not None:
            for name, value in _zip(_NAMES, self._replaced):
                if value is None:
                    _names.pop(name, None)
                else:
                    _names[name] = value
            self._replaced = None


def restore() -> None:
    """Restore the original functions for good, in a process that runs no cell."""
    for name, value in _zip(_NAMES, _first):
        _names[name] = value
