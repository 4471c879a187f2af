"""Submodules that cells have imported: `import xml.dom.minidom` binds `xml` only, whose attribute the rest is.

A restore imports them again. Which they are is read from the code that was run: the dotted names it imports, and the
names in it that are, one below the other, those of loaded modules (`concurrent.futures`, however that was imported).
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


IMPORT_SECONDS: Final = 25.0  # for a large library on a busy machine, beyond what any call of a restore has


class ImportWatch(Protocol):
    """Bounds the time that an import takes."""

    def enter(self, offset: int, callee: str, more_seconds: float) -> str:
        """Begin an import, and return ''; or return why it must not be made."""
        ...

    def leave(self) -> None:
        """End it."""


class Submodules:
    """The submodules of the environment's packages that a session's code uses."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}  # in order of first use
        self._waiting: dict[str, None] = {}  # mentioned, but not loaded: a function may import it later
        self._looked_at = (0, 0)

    def note(self, code: Iterable[CodeType]) -> None:
        """Take the submodules that code which has run, or may run later, imports."""
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
        if self._waiting and (len(self._waiting), len(sys.modules)) != self._looked_at:
            for name in [name for name in self._waiting if name in sys.modules]:
                del self._waiting[name]
                if _is_below_package(name) and len(self._names) < MOST_NAMES:
                    self._names[name] = None
            while len(self._waiting) > MOST_NAMES:
                del self._waiting[next(iter(self._waiting))]
            self._looked_at = len(self._waiting), len(sys.modules)
        return list(self._names)

    def restore(self, names: Iterable[str], watch: ImportWatch) -> list[str]:
        """Import these again; return what has failed."""
        failed = []
        for number, name in enumerate(names):
            self._names[name] = None
            reason = watch.enter(number, name, IMPORT_SECONDS)
            if not reason:
                try:
                    importlib.import_module(name)
                except BaseException as exc:  # noqa: BLE001 - libraries, what cells put in their way, and their time's end
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
    """Return the name of the module that a name in code stands for, '' if it is none."""
    value = registry.names.get(name)
    module = value if is_module(value) else sys.modules.get(name)
    if not is_module(module) or "__path__" not in names_of(module):
        return ""
    found = names_of(module).get("__name__")
    return found if isinstance(found, str) else ""


def _is_below_package(name: str) -> bool:
    """Return whether a module is one of the environment, which its package has as an attribute."""
    module = sys.modules[name]
    above, _, last = name.rpartition(".")
    package = sys.modules.get(above)
    if not is_module(module) or not is_module(package) or origins.is_own(module):
        return False
    return names_of(package).get(last) is module
