"""What cells have put into library modules and classes: `json.dumps = mine`, `pd.DataFrame.head1 = f`.

Looking through all modules after each cell would take too long. The cell's source says which attributes it may change;
those are looked at after every cell from then on, and saved where they aren't what they were. A restore sets them when
everything else is there.

Not seen: what a function of a library changes in another module, and code that is run from a text.
"""

import importlib
import sys
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final

from skep_workers.session.checkpoint.hidden_names import DELETED, PATCH, take
from skep_workers.session.checkpoint.lost_names import describe
from skep_workers.session.checkpoint.reducers.definitions import (
    class_attribute,
    class_names,
    is_definition,
    is_found,
    module_of,
)
from skep_workers.session.checkpoint.reducers.origins import MAIN, is_class, is_module, names_of, origins
from skep_workers.session.checkpoint.surroundings.mentions import Mentions, Path

MOST_PLACES: Final = 1000
MOST_UNRESOLVED: Final = 100  # cells between two looks
_ENGINE: Final = ("skep_workers", "builtins", MAIN)  # nothing of a session's own process is changed by its checkpoints
# What of sys is the user's; the rest of it is the process's, or kept elsewhere.
_OF_SYS: Final = frozenset({"argv", "ps1", "ps2", "excepthook", "displayhook", "tracebacklimit", "dont_write_bytecode"})
# Saved in vain, where they are the library's after all, they do no harm.
_PLAIN: Final = (FunctionType, type, str, bytes, int, float, complex, type(None))
_NAMED: Final = (FunctionType, BuiltinFunctionType, type)
_missing: Final = object()
_unknown: Final = object()


@dataclass(frozen=True, slots=True)
class Place:
    """An attribute that cells may have changed: a module, and the path from it."""

    module: str
    path: Path

    @property
    def text(self) -> str:
        """How a checkpoint names it."""
        return f"{self.module}:{'.'.join(self.path)}"


class LibraryChanges:
    """The attributes of libraries that cells of one session may have changed."""

    def __init__(self) -> None:
        self._originals: dict[Place, Any] = {}
        self._unresolved: list[Mentions] = []

    def before(self, mentions: Mentions, names: dict[str, Any]) -> None:
        """Note what a cell may change, before it runs: what is there now is the original."""
        if mentions.stores:
            self._note(mentions, names, is_before=True)
            self._unresolved = [*self._unresolved[-MOST_UNRESOLVED:], mentions]

    def after(self, names: dict[str, Any]) -> None:
        """Note what could not be found before the cell has run, such as what it has imported itself."""
        for mentions in self._unresolved:
            self._note(mentions, names, is_before=False)
        self._unresolved.clear()

    def imported(self, mentions: Mentions, names: dict[str, Any]) -> None:
        """Note what a module of the session's own, which has these names, may change in libraries or has changed."""
        self._note(mentions, names, is_before=False)

    def add(self, owner: Any, name: str) -> None:
        """Note an attribute that is known to be changed."""
        place = place_of_attribute(owner, (), name)
        if place is not None:
            self._originals.setdefault(place, _unknown)

    def read(self) -> dict[str, Any]:
        """Return what has to be saved, by hidden names."""
        found: dict[str, Any] = {}
        replaced = set()
        for place, original in self._originals.items():
            value = _value_at(place)
            if value is original or _is_submodule(place, value):
                continue
            if original is _unknown and (value is _missing or _is_original(place, value)):
                continue
            replaced.add((place.module, ".".join(place.path)))
            if value is _missing:
                found[DELETED + place.text] = None
            else:
                found[PATCH + place.text] = value
        origins.replaced = frozenset(replaced)
        for module, made_by_import in origins.imported_again.values():
            found |= content_of(module, made_by_import)
        return found

    def restore(self, names: dict[str, Any], lost: dict[str, str]) -> None:
        """Take what was saved out of restored names, and change the libraries again; what fails is added to `lost`."""
        deleted = dict.fromkeys(take(names, DELETED), _missing)
        for text, value in {**deleted, **take(names, PATCH)}.items():
            module, _, path = text.partition(":")
            try:
                self._change(Place(module, tuple(path.split("."))), value)
            except (Exception, SystemExit) as exc:  # noqa: BLE001 - an import, and the code of metaclasses
                lost[f"{module}.{path}"] = f"changing it again raised {describe(exc)}"

    def _change(self, place: Place, value: Any) -> None:
        importlib.import_module(place.module)
        owner = _follow(sys.modules[place.module], place.path[:-1])
        if owner is _missing:
            raise AttributeError(f"{place.module} has no {'.'.join(place.path[:-1])}")
        if not origins.is_own(sys.modules[place.module]):  # then it is saved by value from now on
            self._originals.setdefault(place, _value_at(place))
        if value is _missing:
            delattr(owner, place.path[-1])
        else:
            setattr(owner, place.path[-1], value)

    def _note(self, mentions: Mentions, names: dict[str, Any], *, is_before: bool) -> None:
        for root, *middle, name in mentions.stores:
            start = _start(root, mentions.aliases, names)
            if start is _missing or len(self._originals) >= MOST_PLACES:
                continue
            place = place_of_attribute(start, tuple(middle), name)
            if place is None or place in self._originals:
                continue
            value = _value_at(place)
            may_be_original = (root, *middle, name) in mentions.deferred and not issubclass(type(value), _PLAIN)
            self._originals[place] = value if is_before or may_be_original else _unknown


def content_of(module: ModuleType, made_by_import: frozenset[str]) -> dict[str, Any]:
    """Return, by hidden names, what a module that is imported again has to be given.

    That is its data and what cells have defined, less what importing it has to make.
    """
    return {
        f"{PATCH}{module.__name__}:{name}": value
        for name, value in names_of(module).items()
        if not (name.startswith("__") and name.endswith("__"))
        and name not in made_by_import
        and not is_module(value)
        and not (issubclass(type(value), _NAMED) and not is_definition(value))
    }


def _start(root: str, aliases: dict[str, str], names: dict[str, Any]) -> Any:
    """Return what the first name of a path stands for: an import of the same source, or a variable."""
    full = aliases.get(root)
    if full is None:
        return names.get(root, _missing)
    if full in sys.modules:
        return sys.modules[full]
    above, _, last = full.rpartition(".")
    return _inside(sys.modules[above], last) if above in sys.modules else _missing


def follow_path(path: Path, aliases: dict[str, str], names: dict[str, Any]) -> Any:
    """Return what a path in a source stands for, None if that isn't there."""
    found = _follow(_start(path[0], aliases, names), path[1:]) if path else _missing
    return None if found is _missing else found


def place_of_attribute(owner: Any, middle: Path, name: str) -> Place | None:
    """Return the place of an attribute, None if it is none of a library's."""
    found = place_of_value(owner)
    for part in middle:
        if found is None:
            return None
        owner = _inside(owner, part)
        found = place_of_value(owner) or Place(found.module, (*found.path, part))
    if found is None or owner is _missing or is_definition(owner) or is_definition(type(owner)):
        return None
    if found.module.partition(".")[0] in _ENGINE or module_of(type(owner)).startswith(_ENGINE[0]):
        return None
    if found.module == "sys" and (found.path or name not in _OF_SYS):
        return None
    return Place(found.module, (*found.path, name))


def place_of_value(value: Any) -> Place | None:
    """Return the place of a library's module, class or function that goes by its own name."""
    if is_module(value):
        name = names_of(value).get("__name__")
        if not isinstance(name, str) or sys.modules.get(name) is not value:
            return None
        return None if origins.is_own(value) else Place(name, ())
    if is_definition(value):
        return None
    if type(value) is FunctionType:
        module, name = value.__module__, value.__qualname__
    elif issubclass(type(value), type):
        module, name = module_of(value), type.__dict__["__qualname__"].__get__(value)
    else:
        return None
    return Place(module, tuple(name.split("."))) if is_found(value, module, name) else None


def _inside(owner: Any, name: str) -> Any:
    """Return an attribute as it is stored, without running code that answers for it."""
    if is_module(owner):
        return names_of(owner).get(name, _missing)
    if is_class(owner):
        found = class_attribute(owner, name)
        return _missing if found is None else found
    try:
        return object.__getattribute__(owner, "__dict__").get(name, _missing)
    except AttributeError:
        return _missing


def _follow(owner: Any, path: Path) -> Any:
    for part in path:
        owner = _inside(owner, part)
    return owner


def _value_at(place: Place) -> Any:
    """Return what is stored there now; of a class, not what it inherits."""
    owner = _follow(sys.modules.get(place.module, _missing), place.path[:-1])
    if is_class(owner):
        return class_names(owner).get(place.path[-1], _missing)
    return _inside(owner, place.path[-1])


def _is_submodule(place: Place, value: Any) -> bool:
    """Return whether an attribute is a submodule, which its import has put there."""
    return is_module(value) and names_of(value).get("__name__") == f"{place.module}.{'.'.join(place.path)}"


def _is_original(place: Place, value: Any) -> bool:
    """Return whether what an attribute holds is surely what its library has put there: it carries that name itself."""
    if type(value) is BuiltinFunctionType:
        return value.__module__ == place.module and value.__name__ == place.path[-1]
    if not issubclass(type(value), FunctionType | type) or is_definition(value):
        return False
    module, name = value.__module__, value.__qualname__
    return name.rpartition(".")[2] == place.path[-1] and is_found(value, module, name)
