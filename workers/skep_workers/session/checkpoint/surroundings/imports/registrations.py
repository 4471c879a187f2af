"""Registrations of cells with libraries: virtual subclasses, single-dispatch functions, reducers, import finders.

The library keeps such a registration in the process. It is saved if it involves an object of a cell, and made again
after a restore. Libraries make their own registrations when they are imported.
"""

import abc
import copyreg
import sys
from types import FunctionType, ModuleType
from typing import Any, Final

from skep_workers.session.checkpoint.hidden_names import FINDERS, REGISTERED, pop_prefixed
from skep_workers.session.checkpoint.lost_names import describe
from skep_workers.session.checkpoint.reducers.definitions import class_names, is_definition
from skep_workers.session.checkpoint.reducers.library_names import find_in_module
from skep_workers.session.checkpoint.reducers.origins import is_class, is_module, names_of, origins
from skep_workers.session.checkpoint.surroundings.imports.library_changes import (
    LibraryChanges,
    follow_path,
    place_of_value,
)
from skep_workers.session.checkpoint.surroundings.imports.mentions import Mentions

MOST_REGISTRIES: Final = 1000
_REDUCERS: Final = "copyreg:dispatch_table"
_LISTS: Final = ("meta_path", "path_hooks")
_DEPTH: Final = 2  # for example, an accessor has a class of a cell in its dict


class Registrations:
    """The registries of libraries that cells of one session have registered something with."""

    def __init__(self, changes: LibraryChanges) -> None:
        self._changes = changes
        self._registries: dict[str, Any] = {}
        self._first_reducers: frozenset[Any] = frozenset()
        self._finders: dict[str, list[int]] = {}  # the ids of all finders, by the name of their list
        self._own_finders: dict[str, list[tuple[int, Any]]] = {}

    def prepare(self) -> None:
        """Record the present registrations as the libraries' own."""
        self._first_reducers = frozenset(copyreg.dispatch_table)

    def after(self, mentions: Mentions, names: dict[str, Any]) -> None:
        """Note the registries that a cell may have changed, after it has run."""
        for path in mentions.registers:
            registry = follow_path(path[:-1], mentions.aliases, names)
            place = place_of_value(registry)
            if place is not None and not is_module(registry):
                if len(self._registries) < MOST_REGISTRIES:
                    self._registries[place.text] = registry
            else:  # another function, which may store its arguments in a class of its library
                self._note_classes(path, mentions, names)

    def read(self) -> dict[str, Any]:
        """Return the registrations to save, by hidden names."""
        found: dict[str, Any] = {}
        for text, registry in self._registries.items():
            entries = _entries(registry)
            if entries:
                found[REGISTERED + text] = entries
        if len(copyreg.dispatch_table) != len(self._first_reducers):
            new = {kind: how for kind, how in copyreg.dispatch_table.items() if kind not in self._first_reducers}
            own = {kind: how for kind, how in new.items() if is_definition(kind) or is_definition(how)}
            found |= {REGISTERED + _REDUCERS: own} if own else {}
        for name in _LISTS:
            numbers = list(map(id, getattr(sys, name)))
            if numbers != self._finders.get(name):
                own_finders = [(index, each) for index, each in enumerate(getattr(sys, name)) if _is_of_session(each)]
                self._finders[name] = numbers
                self._own_finders[FINDERS + name] = own_finders
        return found | {name: finders for name, finders in self._own_finders.items() if finders}

    def restore(self, names: dict[str, Any], lost: dict[str, str]) -> None:
        """Remove the hidden names from restored names, and register again; failures are added to `lost`."""
        for text, entries in pop_prefixed(names, REGISTERED).items():
            module, _, path = text.partition(":")
            try:
                self._register(text, find_in_module(module, path), entries)
            except (Exception, SystemExit) as exc:  # noqa: BLE001 - an import, and the code of metaclasses
                lost[f"{module}.{path}.register"] = f"registering again raised {describe(exc)}"
        for name, entries in pop_prefixed(names, FINDERS).items():
            there = getattr(sys, name)
            for index, each in entries:  # type: ignore[attr-defined]
                there.insert(index, each)

    def _register(self, text: str, registry: Any, entries: Any) -> None:
        if text == _REDUCERS:
            copyreg.dispatch_table.update(entries)
            return
        self._registries[text] = registry
        if isinstance(entries, dict):
            for kind, function in entries.items():
                registry.register(kind, function)
        else:
            for kind in entries:
                abc.ABCMeta.register(registry, kind)

    def _note_classes(self, path: tuple[str, ...], mentions: Mentions, names: dict[str, Any]) -> None:
        """Note attributes of a library's classes with objects of cells, after a call that registers something."""
        start = follow_path(path[:1], mentions.aliases, names)
        place = place_of_value(start)
        top = place.module.partition(".")[0] if place is not None else ""
        library = sys.modules.get(top)
        if not is_module(library) or origins.is_own(library):
            return
        for kind in list(names_of(library).values()):
            if issubclass(type(kind), type) and not is_definition(kind):
                for name, value in class_names(kind).items():
                    if holds_own(value):
                        self._changes.add(kind, name)


def _entries(registry: Any) -> Any:
    """Return the objects of cells that are registered with a class or a single-dispatch function."""
    if is_class(registry):
        if "_abc_impl" not in class_names(registry):
            return []
        references = abc._get_dump(registry)[0]  # type: ignore[attr-defined]  # noqa: SLF001 - nothing public lists them
        found = [kind for kind in (reference() for reference in references) if kind is not None and is_definition(kind)]
        return sorted(found, key=lambda kind: kind.__qualname__)
    functions = getattr(registry, "registry", None) if type(registry) is FunctionType else None
    if functions is None:
        return {}
    return {kind: how for kind, how in functions.items() if is_definition(kind) or is_definition(how)}


def _is_of_session(finder: Any) -> bool:
    if type(finder) is FunctionType:
        return is_definition(finder)
    return origins.is_of_session(finder if is_class(finder) else type(finder))


def holds_own(value: Any, depth: int = _DEPTH) -> bool:
    """Return whether a value that a library holds is, or contains, a definition of a cell."""
    kind = type(value)
    if origins.is_of_session(value if issubclass(kind, type) else kind):
        return True
    if kind is FunctionType and is_definition(value):
        return True
    if depth == 0 or issubclass(kind, type | FunctionType | ModuleType):
        return False
    try:
        held = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return False
    return type(held) is dict and any(holds_own(each, depth - 1) for each in held.values())
