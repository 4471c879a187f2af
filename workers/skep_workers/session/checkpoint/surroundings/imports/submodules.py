"""Submodules that cells have imported: `import xml.dom.minidom` binds `xml` only; the rest are attributes of it.

A restore imports them again. They are found in the code that was run: the dotted names that it imports, and names in it
that together form the name of a loaded module (`concurrent.futures`, however that was imported).
"""

import importlib
import sys
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Final, Protocol

from skep_workers.session.checkpoint.lost_names import describe
from skep_workers.session.checkpoint.reducers.definitions import registry
from skep_workers.session.checkpoint.reducers.origins import is_module, names_of, origins

MOST_NAMES: Final = 10_000


IMPORT_SECONDS: Final = 25.0  # for a large library on a busy machine, in addition to the time of any call in a restore


class ImportWatch(Protocol):
    """Limits the time of an import."""

    def enter(self, offset: int, callee: str, more_seconds: float) -> str:
        """Begin an import, and return ''; or return why it must not be made."""
        ...

    def leave(self) -> None:
        """End an import."""


class Submodules:
    """The submodules of the environment's packages that a session's code uses."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}  # in order of first use
        self._waiting: dict[str, None] = {}  # mentioned, but not loaded: a function may import it later
        self._read_at = (0, 0)

    def note(self, code: Iterable[CodeType]) -> None:
        """Note the submodules that are imported by code which has run or may run later."""
        for each in code:
            for part in _all_of(each):
                self._note_part(part)

    def _note_part(self, code: CodeType) -> None:
        mentioned = code.co_names
        for name in mentioned:
            if "." in name:
                self._waiting[name] = None
        if len(mentioned) < 2 and not code.co_varnames:
            return
        bases = {name for name in map(_module_name, (*mentioned, *code.co_varnames)) if name}
        while bases:
            below = {f"{base}.{name}" for base in bases for name in mentioned}
            bases = {name for name in below if name in sys.modules and name not in self._waiting}
            self._waiting.update(dict.fromkeys(sorted(bases)))

    def read(self) -> list[str]:
        """Return the submodules in use that are loaded now."""
        if self._waiting and (len(self._waiting), len(sys.modules)) != self._read_at:
            for name in [name for name in self._waiting if name in sys.modules]:
                del self._waiting[name]
                if _is_below_package(name) and len(self._names) < MOST_NAMES:
                    self._names[name] = None
            while len(self._waiting) > MOST_NAMES:
                del self._waiting[next(iter(self._waiting))]
            self._read_at = len(self._waiting), len(sys.modules)
        return list(self._names)

    def restore(self, names: Iterable[str], watch: ImportWatch) -> list[str]:
        """Import these again; return the failures."""
        failed = []
        for number, name in enumerate(names):
            self._names[name] = None
            reason = watch.enter(number, name, IMPORT_SECONDS)
            if not reason:
                try:
                    importlib.import_module(name)
                except BaseException as exc:  # noqa: BLE001 - code of libraries and cells, and the time limit
                    reason = describe(exc)
                finally:
                    watch.leave()
            if reason:
                failed.append(f"{name} could not be imported again: {reason}")
        return failed


def _all_of(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _all_of(constant)


def _module_name(name: str) -> str:
    """Return the name of the package that a name in code refers to, '' if it refers to none."""
    value = registry.names.get(name)
    module = value if is_module(value) else sys.modules.get(name)
    if not is_module(module) or "__path__" not in names_of(module):
        return ""
    found = names_of(module).get("__name__")
    return found if isinstance(found, str) else ""


def _is_below_package(name: str) -> bool:
    """Return whether a module is one of the environment, and an attribute of its package."""
    module = sys.modules[name]
    above, _, last = name.rpartition(".")
    package = sys.modules.get(above)
    if not is_module(module) or not is_module(package) or origins.is_own(module):
        return False
    return names_of(package).get(last) is module
