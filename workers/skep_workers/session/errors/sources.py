"""The sources of cells by the file names of their code, for tracebacks, inspect, warnings and pdb.

They are stored in linecache. Since a session may run cells for months, there are bounds: of the cells that define
nothing, the newest MOST_PLAIN are kept, and of the others the newest that fit in MOST_BYTES. Sources that a checkpoint
restores count as the oldest.

Lines end at line feeds, as they do for Python's tokenizer. `str.splitlines` would also end them at form feeds and at
separators such as U+2028, which strings and comments may contain.

inspect finds a function's source through its code object, which names the cell. A class has no code object: inspect
looks for the file of its module, and `__main__` has no file here. Instead, the file name comes from a method, or from
the newest cell that has a class of this qualified name. Before Python 3.13 inspect also parses the whole file to find
the class. A cell with magics is not Python, so the line is looked up here, in the Python that the cell was translated
to.
"""

import ast
import inspect
import linecache
import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import zip_longest
from linecache import getlines  # bound early: user code may patch linecache
from types import CodeType, FunctionType
from typing import Any, Final

from skep_workers.session.errors.compiler_warnings import quiet_compile

CELL_PREFIX: Final = "<cell "
MOST_PLAIN: Final = 1_000  # cells; their sources are only needed while they run, and for tracebacks
MOST_BYTES: Final = 32 * 1024**2  # the length of the text; the objects of the lines take up to twice that in memory

_PARSE: Final = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_DEFINITION: Final = re.compile(r"\b(?:def|class|lambda|for)\b")

Translate = Callable[[str, str], str]  # a cell's source and file name -> the Python that it is translated to

_translate: Translate = lambda source, _filename: source  # noqa: E731 - until the real one is installed
_classes: Final[dict[str, dict[str, set[int]]]] = {}  # file name -> qualified name -> first lines; filled on demand


class _Bounds:
    """The sources that are stored, the oldest first."""

    def __init__(self) -> None:
        self.plain: deque[str] = deque()
        self.defining: OrderedDict[str, int] = OrderedDict()  # file name -> length
        self._total = 0

    def note(self, filename: str, source: str) -> None:
        """Record this source as the newest, and remove the oldest ones that exceed the bounds."""
        if _DEFINITION.search(source) is None:
            if not self.plain or self.plain[-1] != filename:
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
        """Remove all sources."""
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

    The entry has no modification time, so that linecache never looks for the file on disk.
    """
    lines = source.splitlines(keepends=True)
    # Some lines may end at other separators. That is rare, and this check is faster than splitting at line feeds.
    if len(lines) != source.count("\n") + (not source.endswith("\n")):
        lines = _lines_of(source)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"  # as linecache does for files; traceback relies on it when it places carets
    linecache.cache[filename] = (len(source), None, lines, filename)
    _classes.pop(filename, None)
    _bounds.note(filename, source)


def _lines_of(source: str) -> list[str]:
    *lines, last = source.split("\n")
    return [*(f"{line}\n" for line in lines), *([last] if last else [])]


def forget_sources() -> None:
    """Remove the sources of the cells that ran during the warm-up."""
    _bounds.clear()


def register_sources(sources: Mapping[str, str]) -> None:
    """Register, in another process, the sources that `sources_of` returned."""
    for name in sorted(sources, key=lambda name: (len(name), name)):  # by number
        register_source(sources[name], name)


def sources_of(files: Iterable[str], classes: Iterable[type]) -> dict[str, str]:
    """Return the sources of the cells that these code files and classes came from: file name -> source."""
    names = {name for name in files if name.startswith(CELL_PREFIX)} | {_cell_of(each) for each in classes}
    known = {name: linecache.cache.get(name) for name in sorted(filter(None, names))}
    return {name: "".join(entry[2]) for name, entry in known.items() if entry is not None and len(entry) == 4}


def translated_lines(filename: str) -> frozenset[int]:
    """Return the numbers of the lines of a cell that are translated before they run: those with magics.

    Positions inside such a line refer to the translated line.
    """
    if not filename.startswith(CELL_PREFIX):
        return frozenset()
    shown = "".join(getlines(filename))
    try:
        source = _translate(shown, filename)
    except SyntaxError:
        return frozenset()
    if source is shown:
        return frozenset()
    pairs = zip_longest(shown.split("\n"), source.split("\n"))
    return frozenset(number for number, (line, runs) in enumerate(pairs, start=1) if line != runs)


def install_class_sources(translate: Translate) -> None:
    """Make inspect find classes of `__main__`; `translate` returns the Python that a cell with magics runs as."""
    global _translate  # noqa: PLW0603 - functions of the standard library call the ones here
    _translate = translate
    getfile, findsource = inspect.getfile, inspect.findsource

    def getfile_of_cells(subject: Any) -> str:
        if isinstance(subject, type) and subject.__module__ == "__main__":
            name = _cell_of(subject)
            if name is not None:
                return name
        return getfile(subject)

    def findsource_of_cells(subject: Any) -> tuple[list[str], int]:
        if isinstance(subject, type) and subject.__module__ == "__main__":
            name = _cell_of(subject)
            line = _line_of(subject, name) if name is not None else None
            if name is not None and line is not None:
                return getlines(name), line - 1
        return findsource(subject)

    inspect.getfile = getfile_of_cells  # type: ignore[assignment]
    inspect.findsource = findsource_of_cells  # type: ignore[assignment]


def _cell_of(subject: type) -> str | None:
    for code in _codes_of(subject):
        return code.co_filename
    qualname = _qualname(subject)
    line = _names(subject).get("__firstlineno__")  # from Python 3.13 on
    found = [name for name in reversed(_bounds.defining) if qualname in _classes_in(name)]
    return next((name for name in found if line in _classes_in(name)[qualname]), found[0] if found else None)


def _line_of(subject: type, filename: str) -> int | None:
    """Return the first line of a class, or None if its cell has no class of this name.

    If there are several, choose the one to which the first method belongs, otherwise the last one, which remains bound.
    """
    lines = _classes_in(filename).get(_qualname(subject), set())
    first = _names(subject).get("__firstlineno__")
    if isinstance(first, int) and first in lines:
        return first
    inside = min((code.co_firstlineno for code in _codes_of(subject)), default=None)
    before = [line for line in lines if inside is None or line < inside]
    return max(before or lines, default=None)


def _codes_of(subject: type) -> Iterator[CodeType]:
    """Yield the code of the methods that the class itself defines in a cell."""
    qualname = _qualname(subject)
    for member in _names(subject).values():
        function = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        if not isinstance(function, FunctionType) or not function.__qualname__.startswith(f"{qualname}."):
            continue
        if function.__code__.co_filename.startswith(CELL_PREFIX):
            yield function.__code__


def _names(subject: type) -> Mapping[str, Any]:
    return type.__dict__["__dict__"].__get__(subject)  # type: ignore[no-any-return]


def _qualname(subject: type) -> str:
    return type.__dict__["__qualname__"].__get__(subject)  # type: ignore[no-any-return]


def _classes_in(filename: str) -> dict[str, set[int]]:
    if filename not in _classes:
        source = "".join(getlines(filename))
        tree: ast.AST = ast.Module([], [])
        # A cell that does not parse may have run in part nevertheless; no class of it is found.
        with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            if "class " in source:
                tree = quiet_compile(_translate(source, filename), filename, "exec", _PARSE)
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
