"""Objects that a module of the environment owns: `os.environ`, `sys.path`, the generator that `random.seed` sets.

A variable may refer to one under another name (`from os import environ`). It is saved as a reference to the module's
name, so that after a restore it is the module's object again, and not a copy that no library uses.

A module owns the objects that its names were bound to when it was first read, right after its import. Objects that
cells bind there later are the session's.
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
    is_among,
    is_definition,
    module_of,
    registry,
)
from skep_workers.session.checkpoint.reducers.library_names import find_in_module
from skep_workers.session.checkpoint.reducers.origins import MAIN, is_module, names_of, origins

LOGGERS: Final = frozenset({logging.Logger, logging.RootLogger})  # saved by their names, for `getLogger`

# Types whose instances can't change, that pickle itself saves by name, or that are made for one module only.
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


class OwnedPlace(NamedTuple):
    """Where an object is: a name in a module, or '' for the module's dict itself."""

    module: str
    name: str


class OwnedObjects:
    """The objects that modules of the environment own, by id; whether they still do is checked on use."""

    def __init__(self) -> None:
        self._places: dict[int, OwnedPlace] = {}
        self._kinds: dict[type, bool] = {}

    def add(self, module_name: str, module: ModuleType) -> None:
        """Add the objects that a module owns now."""
        if module_name == MAIN or module_name.partition(".")[0] == _ENGINE or origins.is_own(module):
            return
        names, kinds, places = names_of(module), self._kinds, self._places
        places.setdefault(id(names), OwnedPlace(module_name, ""))
        for name, value in names.items():
            kind = type(value)
            can_be_owned = kinds.get(kind) if type(kind) is type else _can_be_owned(kind)
            if can_be_owned is None:
                can_be_owned = kinds[kind] = _can_be_owned(kind)
            if can_be_owned and not name.startswith("__"):
                places.setdefault(id(value), OwnedPlace(module_name, name))

    def add_main(self) -> None:
        """Add the session's namespace, which `globals()` returns in cells."""
        self._places[id(registry.names)] = OwnedPlace(MAIN, "")

    @property
    def numbers(self) -> dict[int, OwnedPlace]:
        """The ids of objects that may be owned."""
        return self._places

    def place(self, value: Any) -> OwnedPlace | None:
        """Return where an object is owned, None if no module owns it."""
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


_CONTAINERS: Final = frozenset({dict, list, set, bytearray})


def _can_be_owned(kind: type) -> bool:
    if is_among(kind, _CONTAINERS):
        return True
    if is_among(kind, _NEVER_OWNED) or issubclass(kind, type | enum.Enum | ModuleType | MethodType | property):
        return False
    module = module_of(kind)
    if module in _VALUES or module.partition(".")[0] == _ENGINE:
        return kind is decimal.Context
    return not is_definition(kind)


def reduce_owned(place: OwnedPlace) -> Reduced:
    """Reduce an object to a reference to its owner."""
    return (find_names, (place.module,)) if not place.name else (find_in_module, tuple(place))


def find_names(module_name: str) -> dict[str, Any]:
    """Return the dict of a module."""
    __import__(module_name)
    return names_of(sys.modules[module_name])


def reduce_decimal_context(context: decimal.Context) -> Any:
    """Reduce a decimal context; the one that cells compute with is saved as a reference."""
    return (find_decimal_context, ()) if registry.in_cells(decimal.getcontext) is context else NotImplemented


def find_decimal_context() -> decimal.Context:
    """Return the context that cells compute with."""
    return registry.in_cells(decimal.getcontext)
