"""Attributes that cells have set in library modules and classes: `json.dumps = mine`, `pd.DataFrame.head1 = f`.

Comparing all modules after each cell would take too long. A cell's source shows which attributes it may change. These
are compared after every later cell, and saved if they have changed. A restore sets them at the end.

Not noticed: changes that a library's function makes in another module, and code that is run from a string.
"""

import importlib
import sys
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final

from skep_workers.session.checkpoint.hidden_names import DELETED, PATCH, pop_prefixed
from skep_workers.session.checkpoint.lost_names import describe
from skep_workers.session.checkpoint.reducers.definitions import (
    class_attribute,
    class_names,
    is_definition,
    is_found,
    module_of,
)
from skep_workers.session.checkpoint.reducers.origins import MAIN, is_class, is_module, names_of, origins
from skep_workers.session.checkpoint.surroundings.imports.mentions import Mentions, Path

MOST_PLACES: Final = 1000
MOST_UNRESOLVED: Final = 100  # cells between two reads
_ENGINE: Final = ("skep_workers", "builtins", MAIN)  # checkpoints don't change a session's own process
# Attributes of sys that are the user's; the others are the process's, or are saved by other parts.
_OF_SYS: Final = frozenset({"argv", "ps1", "ps2", "excepthook", "displayhook", "tracebacklimit", "dont_write_bytecode"})
# Types that may be saved without need, if the value is the library's after all; that does no harm.
_PLAIN: Final = (FunctionType, type, str, bytes, int, float, complex, type(None))
_NAMED: Final = (FunctionType, BuiltinFunctionType, type)
missing: Final = object()  # in place of a value: there is none
_unknown: Final = object()


@dataclass(frozen=True, slots=True)
class AttributePlace:
    """An attribute that cells may have changed: a module, and the path from it."""

    module: str
    path: Path

    @property
    def text(self) -> str:
        """Its name in a checkpoint."""
        return f"{self.module}:{'.'.join(self.path)}"


class LibraryChanges:
    """The attributes of libraries that cells of one session may have changed."""

    def __init__(self) -> None:
        self._originals: dict[AttributePlace, Any] = {}
        self._unresolved: list[Mentions] = []

    def before(self, mentions: Mentions, names: dict[str, Any]) -> None:
        """Note what a cell may change, before it runs: the present values are the originals."""
        if mentions.stores:
            self._note(mentions, names, is_before=True)
            self._unresolved = [*self._unresolved[-MOST_UNRESOLVED:], mentions]

    def after(self, names: dict[str, Any]) -> None:
        """Note what could not be found before the cell ran, such as modules that it imported itself."""
        for mentions in self._unresolved:
            self._note(mentions, names, is_before=False)
        self._unresolved.clear()

    def imported(self, mentions: Mentions, names: dict[str, Any]) -> None:
        """Note what a module of the session's own, with these names, may change or has changed in libraries."""
        self._note(mentions, names, is_before=False)

    def add(self, owner: Any, name: str) -> None:
        """Note an attribute that is known to be changed."""
        place = place_of_attribute(owner, (), name)
        if place is not None:
            self._originals.setdefault(place, _unknown)

    def read(self) -> dict[str, Any]:
        """Return the changed attributes, by hidden names."""
        found: dict[str, Any] = {}
        replaced = set()
        for place, original in self._originals.items():
            value = value_at(place)
            if value is original or _is_submodule(place, value):
                continue
            if original is _unknown and (value is missing or _is_original(place, value)):
                continue
            replaced.add((place.module, ".".join(place.path)))
            if value is missing:
                found[DELETED + place.text] = None
            else:
                found[PATCH + place.text] = value
        origins.replaced = frozenset(replaced)
        for module, made_by_import in origins.imported_again.values():
            found |= content_of(module, made_by_import)
        return found

    def restore(self, names: dict[str, Any], lost: dict[str, str]) -> None:
        """Remove the hidden names from restored names, and change libraries again; failures are added to `lost`."""
        deleted = dict.fromkeys(pop_prefixed(names, DELETED), missing)
        for text, value in {**deleted, **pop_prefixed(names, PATCH)}.items():
            module, _, path = text.partition(":")
            try:
                self._change(AttributePlace(module, tuple(path.split("."))), value)
            except (Exception, SystemExit) as exc:  # noqa: BLE001 - an import, and the code of metaclasses
                lost[f"{module}.{path}"] = f"changing it again raised {describe(exc)}"

    def _change(self, place: AttributePlace, value: Any) -> None:
        importlib.import_module(place.module)
        owner = follow(sys.modules[place.module], place.path[:-1])
        if owner is missing:
            raise AttributeError(f"{place.module} has no {'.'.join(place.path[:-1])}")
        if not origins.is_own(sys.modules[place.module]):  # otherwise it is saved by value
            self._originals.setdefault(place, value_at(place))
        if value is missing:
            delattr(owner, place.path[-1])
        else:
            setattr(owner, place.path[-1], value)

    def _note(self, mentions: Mentions, names: dict[str, Any], *, is_before: bool) -> None:
        for root, *middle, name in mentions.stores:
            start = start_of(root, mentions.aliases, names)
            if start is missing or len(self._originals) >= MOST_PLACES:
                continue
            place = place_of_attribute(start, tuple(middle), name)
            if place is None or place in self._originals:
                continue
            value = value_at(place)
            may_be_original = (root, *middle, name) in mentions.deferred and not issubclass(type(value), _PLAIN)
            self._originals[place] = value if is_before or may_be_original else _unknown


def content_of(module: ModuleType, made_by_import: frozenset[str]) -> dict[str, Any]:
    """Return, by hidden names, the values that have to be set in a module that is imported again.

    These are its data and the definitions of cells, except the names that importing it binds.
    """
    return {
        f"{PATCH}{module.__name__}:{name}": value
        for name, value in names_of(module).items()
        if not (name.startswith("__") and name.endswith("__"))
        and name not in made_by_import
        and not is_module(value)
        and not (issubclass(type(value), _NAMED) and not is_definition(value))
    }


def start_of(root: str, aliases: dict[str, str], names: dict[str, Any]) -> Any:
    """Return the value of the first name of a path: an import of the same source, or a variable."""
    full = aliases.get(root)
    if full is None:
        return names.get(root, missing)
    if full in sys.modules:
        return sys.modules[full]
    above, _, last = full.rpartition(".")
    return inside(sys.modules[above], last) if above in sys.modules else missing


def follow_path(path: Path, aliases: dict[str, str], names: dict[str, Any]) -> Any:
    """Return the value of a path in a source, None if there is none."""
    found = follow(start_of(path[0], aliases, names), path[1:]) if path else missing
    return None if found is missing else found


def place_of_attribute(owner: Any, middle: Path, name: str) -> AttributePlace | None:
    """Return the place of an attribute, None if it belongs to no library."""
    found = place_of_value(owner)
    for part in middle:
        if found is None:
            return None
        owner = inside(owner, part)
        found = place_of_value(owner) or AttributePlace(found.module, (*found.path, part))
    if found is None or owner is missing or is_definition(owner) or is_definition(type(owner)):
        return None
    if found.module.partition(".")[0] in _ENGINE or module_of(type(owner)).startswith(_ENGINE[0]):
        return None
    if found.module == "sys" and (found.path or name not in _OF_SYS):
        return None
    return AttributePlace(found.module, (*found.path, name))


def place_of_value(value: Any) -> AttributePlace | None:
    """Return the place of a library's module, class or function that is found under its own name."""
    if is_module(value):
        name = names_of(value).get("__name__")
        if not isinstance(name, str) or sys.modules.get(name) is not value:
            return None
        return None if origins.is_own(value) else AttributePlace(name, ())
    if is_definition(value):
        return None
    if type(value) is FunctionType:
        module, name = value.__module__, value.__qualname__
    elif issubclass(type(value), type):
        module, name = module_of(value), type.__dict__["__qualname__"].__get__(value)
    else:
        return None
    return AttributePlace(module, tuple(name.split("."))) if is_found(value, module, name) else None


def inside(owner: Any, name: str) -> Any:
    """Return an attribute as it is stored, `missing` without one, and run no code that computes it."""
    if is_module(owner):
        return names_of(owner).get(name, missing)
    if is_class(owner):
        found = class_attribute(owner, name)
        return missing if found is None else found
    try:
        return object.__getattribute__(owner, "__dict__").get(name, missing)
    except AttributeError:
        return missing


def follow(owner: Any, path: Path) -> Any:
    """Return what is at the end of a path of attributes, `missing` if nothing is."""
    for part in path:
        owner = inside(owner, part)
    return owner


def value_at(place: AttributePlace) -> Any:
    """Return the present value; for a class, without inherited attributes."""
    owner = follow(sys.modules.get(place.module, missing), place.path[:-1])
    if is_class(owner):
        return class_names(owner).get(place.path[-1], missing)
    return inside(owner, place.path[-1])


def _is_submodule(place: AttributePlace, value: Any) -> bool:
    """Return whether an attribute is a submodule, which its import has set."""
    return is_module(value) and names_of(value).get("__name__") == f"{place.module}.{'.'.join(place.path)}"


def _is_original(place: AttributePlace, value: Any) -> bool:
    """Return whether the value of an attribute certainly is the library's own: it has that name itself."""
    if type(value) is BuiltinFunctionType:
        return value.__module__ == place.module and value.__name__ == place.path[-1]
    if not issubclass(type(value), FunctionType | type) or is_definition(value):
        return False
    module, name = value.__module__, value.__qualname__
    return name.rpartition(".")[2] == place.path[-1] and is_found(value, module, name)
