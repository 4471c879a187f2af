"""The sources of cells, by the file names that their code has: for tracebacks, inspect, warnings and pdb.

linecache holds them. There are bounds, since a session may run cells for months: of cells that define nothing the
newest MOST_PLAIN, of others MOST_BYTES of the newest. What a checkpoint restores is among the oldest.

inspect finds a function's source by its code object, which names the cell. A class has none: inspect looks for the file
of its module, and `__main__` has no file here. The file name of a method, or of the newest cell that has a class of
this qualified name, stands in.
"""

import ast
import inspect
import linecache
import re
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from linecache import getlines  # bound early: user code may patch linecache
from types import FunctionType
from typing import Any, Final

CELL_PREFIX: Final = "<cell "
MOST_PLAIN: Final = 1_000  # cells; only while they run, and in a traceback of theirs, are their sources of use
MOST_BYTES: Final = 32 * 1024**2  # measured by length; in memory it is up to twice that, by the objects of the lines

_DEFINITION: Final = re.compile(r"\b(?:def|class|lambda|for)\b")

_classes: Final[dict[str, dict[str, set[int]]]] = {}  # file name -> qualified name -> its first lines; made when asked


class _Bounds:
    """The sources that are held, the oldest first."""

    def __init__(self) -> None:
        self.plain: deque[str] = deque()
        self.defining: OrderedDict[str, int] = OrderedDict()  # file name -> length
        self._total = 0

    def note(self, filename: str, source: str) -> None:
        """Count this source as the newest, and drop the oldest beyond the bounds."""
        if _DEFINITION.search(source) is None:
            self.plain.append(filename)
            if len(self.plain) > MOST_PLAIN:
                self._forget(self.plain.popleft())
            return
        self._total += len(source) - self.defining.pop(filename, 0)
        self.defining[filename] = len(source)
        while self._total > MOST_BYTES and len(self.defining) > 1:
            oldest, length = self.defining.popitem(last=False)
            self._total -= length
            self._forget(oldest)

    def clear(self) -> None:
        """Forget all."""
        for name in {*self.plain, *self.defining}:
            linecache.cache.pop(name, None)
            _classes.pop(name, None)
        self.plain.clear()
        self.defining.clear()
        self._total = 0

    def _forget(self, filename: str) -> None:
        if filename not in self.defining:
            linecache.cache.pop(filename, None)
            _classes.pop(filename, None)


_bounds: Final = _Bounds()


def register_source(source: str, filename: str) -> None:
    """Register a cell's source, so that tracebacks, inspect, warnings and pdb find it.

    It has no mtime, so that linecache never looks for the file on disk.
    """
    lines = source.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"  # as linecache does for files: traceback counts on it when it places carets
    linecache.cache[filename] = (len(source), None, lines, filename)
    _classes.pop(filename, None)
    _bounds.note(filename, source)


def forget_sources() -> None:
    """Forget the cells of a rehearsal."""
    _bounds.clear()


def register_sources(sources: Mapping[str, str]) -> None:
    """Register what `sources_of` gave, in another process."""
    for name in sorted(sources, key=lambda name: (len(name), name)):  # by number
        register_source(sources[name], name)


def sources_of(files: Iterable[str], classes: Iterable[type]) -> dict[str, str]:
    """Return the sources of the cells that code and classes came from: file name -> source."""
    names = {name for name in files if name.startswith(CELL_PREFIX)} | {_cell_of(each) for each in classes}
    known = {name: linecache.cache.get(name) for name in sorted(filter(None, names))}
    return {name: "".join(entry[2]) for name, entry in known.items() if entry is not None and len(entry) == 4}


def install_class_sources() -> None:
    """Teach inspect.getfile about classes of `__main__`."""
    getfile = inspect.getfile

    def getfile_of_cells(subject: Any) -> str:
        if isinstance(subject, type) and subject.__module__ == "__main__":
            name = _cell_of(subject)
            if name is not None:
                return name
        return getfile(subject)

    inspect.getfile = getfile_of_cells  # type: ignore[assignment]


def _cell_of(subject: type) -> str | None:
    names = type.__dict__["__dict__"].__get__(subject)
    qualname = type.__dict__["__qualname__"].__get__(subject)
    for member in names.values():
        function = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        if not isinstance(function, FunctionType) or not function.__qualname__.startswith(f"{qualname}."):
            continue
        if function.__code__.co_filename.startswith(CELL_PREFIX):
            return function.__code__.co_filename
    line = names.get("__firstlineno__")  # from Python 3.13 on
    found = [name for name in reversed(_bounds.defining) if qualname in _classes_in(name)]
    return next((name for name in found if line in _classes_in(name)[qualname]), found[0] if found else None)


def _classes_in(filename: str) -> dict[str, set[int]]:
    if filename not in _classes:
        source = "".join(getlines(filename))
        try:
            tree = ast.parse(source) if "class " in source else ast.Module([], [])
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            tree = ast.Module([], [])
        found: dict[str, set[int]] = {}
        _classes[filename] = found
        _find_classes(tree, "", found)
    return _classes[filename]


def _find_classes(node: ast.AST, prefix: str, found: dict[str, set[int]]) -> None:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.ClassDef(name=name):
                first = min([child.lineno, *(each.lineno for each in child.decorator_list)])
                found.setdefault(prefix + name, set()).add(first)
                _find_classes(child, f"{prefix}{name}.", found)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                _find_classes(child, f"{prefix}{name}.<locals>.", found)
            case _:
                _find_classes(child, prefix, found)
