"""Which values count as defined by a cell, and the keys by which streams refer to such definitions.

Never runs user code: a metaclass may define how the attributes of its classes are read, so they are read without it.
"""

import sys
import typing
from collections.abc import Callable, Collection
from contextvars import Context
from types import FunctionType, ModuleType
from typing import Any, Final, TypeVar

from skep_workers.session.checkpoint.reducers.library_names import library_place
from skep_workers.session.checkpoint.reducers.origins import MAIN, is_module, origins

T = TypeVar("T")
Reduced = tuple[Any, ...]  # a result of `__reduce_ex__`
Reducer = Callable[[Any], Any]

TYPE_PARAMETERS: Final = (
    typing.TypeVar,
    typing.ParamSpec,
    typing.TypeVarTuple,
    typing.NewType,
    *(getattr(typing, name) for name in ("TypeAliasType",) if hasattr(typing, name)),  # from Python 3.12 on
)
# Flags of a type, see CPython's Include/object.h: made at run time; can't be changed.
_HEAP: Final = 1 << 9
_IMMUTABLE: Final = 1 << 8
_class_dict: Final = type.__dict__["__dict__"].__get__
_class_mro: Final = type.__dict__["__mro__"].__get__


class MissingDefinition(LookupError):
    """An object needs a definition that could not be restored."""


class _Registry:
    """The process's namespace, and the definitions that streams refer to; there is one of each in a process."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.definitions: dict[str, Any] = {}
        self.is_fork = False  # whether the restored state is another session's
        self.lost_definitions: dict[str, str] = {}  # definitions that could not be restored, with reasons
        self.home = ""  # the session's directory
        self.context: Context | None = None  # the context that cells run in, with the values of their context variables
        self.loop: Any = None  # the event loop that cells run in

    def in_cells(self, function: Callable[[], T]) -> T:
        """Call a function in the context that cells run in."""
        if self.context is None:
            return function()
        try:
            return self.context.run(function)
        except RuntimeError:  # this is that context already
            return function()


_COMPARING: Final = ("__eq__", "__hash__")
registry: Final = _Registry()


def is_definition(value: object) -> bool:
    """Return whether a value is a function, class, type parameter or module of the session's own.

    Such a value is saved by value, once, and referred to by a key wherever it is used.
    """
    kind = type(value)
    if kind is FunctionType:
        names = value.__globals__  # type: ignore[attr-defined]
        return names is registry.names or origins.own_module(names) is not None
    if issubclass(kind, type):
        return _is_own_class(value)  # type: ignore[arg-type]
    if issubclass(kind, ModuleType):
        return origins.is_own(value)  # type: ignore[arg-type]
    if is_among(kind, TYPE_PARAMETERS):
        return not is_found(value, getattr(value, "__module__", None), value.__name__)  # type: ignore[attr-defined]
    return False


def _is_own_class(kind: type) -> bool:
    if is_made_by_c(kind):
        return False
    name: str = type.__dict__["__qualname__"].__get__(kind)
    module = module_of(kind)
    return not is_found(kind, module, name) and library_place(kind, module, name) is None


def is_made_by_c(kind: type) -> bool:
    """Return whether a class is made by C code, and can't be changed."""
    flags: int = type.__dict__["__flags__"].__get__(kind)
    return not flags & _HEAP or bool(flags & _IMMUTABLE)


def is_compared_plainly(kind: type) -> bool:
    """Return whether comparing and hashing a class runs no code of its metaclass."""
    metaclass = type(kind)
    return metaclass is type or all(class_attribute(metaclass, name) is object.__dict__[name] for name in _COMPARING)


def is_among(kind: type, kinds: Collection[object]) -> bool:
    """Return whether a class is one of these classes, which have no metaclass, without running a metaclass's code."""
    return type(kind) is type and kind in kinds


def is_found(value: object, module_name: str | None, qualname: str) -> bool:
    """Return whether a new process finds the value by this name."""
    module = sys.modules.get(module_name or "")
    if module is None or module_name == MAIN or (is_module(module) and origins.is_own(module)):
        return False
    found: Any = module
    try:
        for part in qualname.split("."):
            found = getattr(found, part, None)
    except (Exception, SystemExit):  # noqa: BLE001 - a module, or a metaclass, may define how its attributes are read
        return False
    return found is value


def module_of(kind: type) -> str:
    """Return the name of the module that a class belongs to, according to its attributes."""
    module = _class_dict(kind).get("__module__")
    if type(module) is str:
        return module
    return "" if type.__dict__["__flags__"].__get__(kind) & _HEAP else type.__dict__["__module__"].__get__(kind)


def class_names(kind: type) -> dict[str, Any]:
    """Return the attributes that a class itself defines."""
    return dict(_class_dict(kind))


def class_attribute(kind: type, name: str) -> Any:
    """Return an attribute of a class or its bases as it is stored, None if there is none."""
    for base in _class_mro(kind):
        names = _class_dict(base)
        if name in names:
            return names[name]
    return None


def definition(key: str) -> Any:
    """Return the definition with this key; it was restored before the streams that refer to it."""
    try:
        return registry.definitions[key]
    except KeyError:
        name, reason = key.partition(":")[2], registry.lost_definitions.get(key, "it is not in the checkpoint")
        raise MissingDefinition(f"it needs {name}, which could not be restored: {reason}") from None


class DefinitionKeys:
    """A key for each definition that streams refer to; holds the definitions, so that their ids aren't reused."""

    def __init__(self) -> None:
        self._keys: dict[int, str] = {}
        self.by_key: dict[str, Any] = {}

    def key(self, value: Any) -> str:
        """Return the definition's key, a new one if it has none."""
        key = self._keys.get(id(value))
        if key is None:
            name = value.__name__ if not isinstance(value, type) else type.__dict__["__qualname__"].__get__(value)
            key = f"{len(self._keys)}:{name}"
            self._keys[id(value)] = key
            self.by_key[key] = value
        return key

    def __len__(self) -> int:
        return len(self.by_key)
