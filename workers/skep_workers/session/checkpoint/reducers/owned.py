"""Objects that a module of the environment owns: `os.environ`, `sys.path`, the hidden instance behind `random.seed`.

A variable may hold one under another name (`from os import environ`). It is saved as a reference to the module's name,
so that after a restore it is the module's object again, and not a copy that nothing else looks at.

A module owns what its names held when it was first seen, right after its import. What cells put there later is theirs.
"""

import decimal
import enum
import logging
import sys
from types import BuiltinFunctionType, CodeType, FunctionType, GenericAlias, MethodType, ModuleType, UnionType
from typing import Any, Final, NamedTuple

from skep_workers.session.checkpoint.reducers.definitions import (
    TYPE_PARAMETERS,
    Reduced,
    is_definition,
    module_of,
    registry,
)
from skep_workers.session.checkpoint.reducers.library_names import find_in_module
from skep_workers.session.checkpoint.reducers.origins import MAIN, is_module, names_of, origins

LOGGERS: Final = frozenset({logging.Logger, logging.RootLogger})  # saved by the names that `getLogger` knows

# What can't change, what pickle saves by a name itself, and what is made for the module alone.
_NEVER_OWNED: Final = frozenset(
    {str, bytes, int, float, complex, bool, type(None), type(NotImplemented), type(Ellipsis), range, slice}
    | {tuple, frozenset, FunctionType, BuiltinFunctionType, MethodType, CodeType, GenericAlias, UnionType}
    | {*LOGGERS, *TYPE_PARAMETERS}
)
_VALUES: Final = frozenset(
    {"datetime", "decimal", "fractions", "pathlib", "re", "uuid", "zoneinfo", "ipaddress", "typing", "functools"}
    | {"operator", "numpy", "numpy.dtypes", "_frozen_importlib", "_frozen_importlib_external", "__future__"}
)
_ENGINE: Final = "skep_workers"
_LATEST: Final = frozenset({"last_exc", "last_type", "last_value", "last_traceback"})  # in sys: the user's exceptions


class Place(NamedTuple):
    """Where an object is: a name in a module, or '' for the module's dict itself."""

    module: str
    name: str


class OwnedObjects:
    """What the modules of the environment own, by id; whether it still is theirs is asked when it matters."""

    def __init__(self) -> None:
        self._places: dict[int, Place] = {}
        self._kinds: dict[type, bool] = {}

    def add(self, module_name: str, module: ModuleType) -> None:
        """Take what a module owns now."""
        if module_name == MAIN or module_name.partition(".")[0] == _ENGINE or origins.is_own(module):
            return
        names, kinds, places = names_of(module), self._kinds, self._places
        places.setdefault(id(names), Place(module_name, ""))
        for name, value in names.items():
            kind = type(value)
            can_be_owned = kinds.get(kind)
            if can_be_owned is None:
                can_be_owned = kinds[kind] = _can_be_owned(kind)
            if can_be_owned and not name.startswith("__"):
                places.setdefault(id(value), Place(module_name, name))

    def add_main(self) -> None:
        """Take the session's namespace, which `globals()` gives."""
        self._places[id(registry.names)] = Place(MAIN, "")

    @property
    def numbers(self) -> dict[int, Place]:
        """The ids of what may be owned."""
        return self._places

    def place(self, value: Any) -> Place | None:
        """Return where an object is owned, None if it isn't any more or never was."""
        place = self._places.get(id(value))
        if place is None:
            return None
        if place.module == MAIN:
            return place if value is registry.names else None
        module = sys.modules.get(place.module)
        if not is_module(module) or origins.is_own(module):
            return None
        if not place.name:
            return place if names_of(module) is value else None
        is_theirs = names_of(module).get(place.name) is value and tuple(place) not in origins.replaced
        return place if is_theirs and place.name not in _LATEST else None


owned: Final = OwnedObjects()


def _can_be_owned(kind: type) -> bool:
    if kind in {dict, list, set, bytearray}:
        return True
    if kind in _NEVER_OWNED or issubclass(kind, type | enum.Enum | ModuleType | MethodType | property):
        return False
    module = module_of(kind)
    if module in _VALUES or module.partition(".")[0] == _ENGINE:
        return kind is decimal.Context
    return not is_definition(kind)


def reduce_owned(place: Place) -> Reduced:
    """Save an object as a reference to what owns it."""
    return (find_names, (place.module,)) if not place.name else (find_in_module, tuple(place))


def find_names(module_name: str) -> dict[str, Any]:
    """Return the dict of a module."""
    __import__(module_name)
    return names_of(sys.modules[module_name])


def reduce_decimal_context(context: decimal.Context) -> Any:
    """Save a context: the one that cells compute with as just that."""
    return (find_decimal_context, ()) if registry.in_cells(decimal.getcontext) is context else NotImplemented


def find_decimal_context() -> decimal.Context:
    """Return the context that cells compute with."""
    return registry.in_cells(decimal.getcontext)
