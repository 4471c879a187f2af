"""The modules of a process: which of them are new, and which are the session's own.

Read after each cell, at the cost of comparing the table of `sys.modules`. In a process that was just forked, iterating
over all modules takes longer than many cells do, so that is done only if more than added names has changed.
"""

import sys
from array import array
from collections.abc import Callable
from itertools import islice
from types import FunctionType, ModuleType
from typing import Any

from skep_workers.session.checkpoint.reducers.definitions import is_definition, registry
from skep_workers.session.checkpoint.reducers.library_names import is_from_library
from skep_workers.session.checkpoint.reducers.module_files import note_file
from skep_workers.session.checkpoint.reducers.origins import MAIN, is_module, names_of, origins
from skep_workers.session.checkpoint.reducers.owned_objects import owned
from skep_workers.session.checkpoint.surroundings.object_memory import identities, table
from skep_workers.session.errors.sources import CELL_PREFIX


class LoadedModules:
    """Follows `sys.modules` of one session process."""

    def __init__(self) -> None:
        self._loaded: dict[
            str, Any
        ] = {}  # keeps the modules alive: otherwise another object could get the same address
        self._table = b""
        self.own: dict[str, ModuleType] = {}  # the session's own, by their names in sys.modules
        self.stand_ins: dict[str, Any] = {}  # objects of cells in sys.modules that are no modules

    def prepare(self) -> None:
        """Record the modules that are loaded now as the environment's."""
        origins.prepare()
        owned.add_main()
        self._loaded, self._table = dict(sys.modules), table(sys.modules)
        for name, module in list(sys.modules.items()):
            if is_module(module):
                origins.note_library(module)
                owned.add(name, module)

    def find_new(self, is_mentioned: Callable[[str], bool]) -> list[ModuleType]:
        """Return the modules loaded since the last call. is_mentioned: returns whether a cell contains this text."""
        origins.forget_strangers()
        before, self._table = self._table, table(sys.modules)
        if self._table and self._table == before:
            return []
        known = set(array("Q", before or identities(tuple(self._loaded.values()))))
        loaded = _added(before, self._table)
        if loaded is None:
            loaded = dict(sys.modules)
            if identities(tuple(loaded.values())) == identities(tuple(self._loaded.values())):
                return []
            self._loaded, self.own, self.stand_ins = {}, {}, {}
        self._loaded |= loaded
        items = [(name, module) for name, module in loaded.items() if is_module(module)]
        new = [(name, module) for name, module in items if id(module) not in known]
        self._attribute(new, is_mentioned)
        for name, module in new:
            if origins.is_own(module):
                note_file(module)
            else:
                owned.add(name, module)
        self.own |= {name: module for name, module in items if name != MAIN and origins.is_own(module)}
        others = [(name, value) for name, value in loaded.items() if not is_module(value)]
        self.stand_ins |= {name: value for name, value in others if _is_own_class(type(value))}
        return [module for _, module in new]

    def _attribute(self, new: list[tuple[str, ModuleType]], is_mentioned: Callable[[str], bool]) -> None:
        """Find the modules without an origin that libraries have made, as C extensions do, and not cells.

        They appear together with a module of the environment, contain nothing of a cell, and no cell contains their
        name.
        """
        without = [(name, module) for name, module in new if _has_no_origin(module)]
        if not without or not any(not _has_no_origin(module) and not origins.is_own(module) for _, module in new):
            return
        for name, module in without:
            if not is_mentioned(name) and not any(_is_of_cells(value) for value in list(names_of(module).values())):
                origins.note_library(module)


def _added(before: bytes, now: bytes) -> dict[str, Any] | None:
    """Return the modules that were added since, None if others may have been removed or replaced."""
    if not before or not now.startswith(before):
        return None
    tail = array("Q", now[len(before) :])
    expected = [value for value in tail[1::2] if value]  # an import may remove names again
    added = dict(islice(reversed(sys.modules.items()), len(expected)))
    return added if [id(value) for value in reversed(added.values())] == expected else None


def _is_own_class(kind: type) -> bool:
    return is_definition(kind) and not is_from_library(kind)


def _has_no_origin(module: ModuleType) -> bool:
    names = names_of(module)
    return type(module) is ModuleType and all(
        names.get(name) is None for name in ("__spec__", "__loader__", "__file__")
    )


def _is_of_cells(value: Any) -> bool:
    if type(value) is FunctionType:
        return value.__globals__ is registry.names or value.__code__.co_filename.startswith(CELL_PREFIX)
    return issubclass(type(value), type) and origins.is_of_session(value)
