"""What counts as defined by a cell, and the keys that streams name such definitions by.

Nothing here runs user code: a metaclass may answer for the attributes of its classes, so those are read past it.
"""

import sys
import typing
from collections.abc import Callable, Iterable
from contextvars import Context
from types import FunctionType, ModuleType
from typing import Any, Final, TypeVar

from skep_workers.session.checkpoint.reducers.library_names import library_place
from skep_workers.session.checkpoint.reducers.origins import MAIN, is_module, origins

T = TypeVar("T")
Reduced = tuple[Any, ...]  # what `__reduce_ex__` gives
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
    """Something needs a definition that could not be restored."""


class _Registry:
    """The process's namespace and the definitions that streams name; there is one namespace, so one of these."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.definitions: dict[str, Any] = {}
        self.is_fork = False  # whether what is restored is another session's state
        self.lost_definitions: dict[str, str] = {}  # those that could not be restored, with the reason
        self.home = ""  # the session's directory
        self.context: Context | None = None  # where cells run, and their context variables have values
        self.loop: Any = None  # that cells run in

    def in_cells(self, function: Callable[[], T]) -> T:
        """Call a function in the context that cells run in."""
        if self.context is None:
            return function()
        try:
            return self.context.run(function)
        except RuntimeError:  # we are in it already
            return function()


registry: Final = _Registry()


def is_definition(value: object) -> bool:
    """Return whether a value is a function, class, type parameter or module of the session's own.

    It is then saved by value, once, and named by a key wherever it is used.
    """
    kind = type(value)
    if kind is FunctionType:
        names = value.__globals__  # type: ignore[attr-defined]
        return names is registry.names or origins.own_module(names) is not None
    if issubclass(kind, type):
        return _is_own_class(value)  # type: ignore[arg-type]
    if issubclass(kind, ModuleType):
        return origins.is_own(value)  # type: ignore[arg-type]
    if kind in TYPE_PARAMETERS:
        return not is_found(value, getattr(value, "__module__", None), value.__name__)  # type: ignore[attr-defined]
    return False


def _is_own_class(kind: type) -> bool:
    if is_made_by_c(kind):
        return False
    name: str = type.__dict__["__qualname__"].__get__(kind)
    module = module_of(kind)
    return not is_found(kind, module, name) and library_place(kind, module, name) is None


def is_made_by_c(kind: type) -> bool:
    """Tell whether a class is one that can't be changed."""
    flags: int = type.__dict__["__flags__"].__get__(kind)
    return not flags & _HEAP or bool(flags & _IMMUTABLE)


def is_found(value: object, module_name: str | None, qualname: str) -> bool:
    """Return whether a new process finds the value by this name."""
    module = sys.modules.get(module_name or "")
    if module is None or module_name == MAIN or (is_module(module) and origins.is_own(module)):
        return False
    found: Any = module
    try:
        for part in qualname.split("."):
            found = getattr(found, part, None)
    except (Exception, SystemExit):  # noqa: BLE001 - a module, or a metaclass, may say itself how its attributes are found
        return False
    return found is value


def module_of(kind: type) -> str:
    """Give the name of the module that a class says it is of."""
    module = _class_dict(kind).get("__module__")
    if type(module) is str:
        return module
    return "" if type.__dict__["__flags__"].__get__(kind) & _HEAP else type.__dict__["__module__"].__get__(kind)


def class_names(kind: type) -> dict[str, Any]:
    """Give what a class itself defines."""
    return dict(_class_dict(kind))


def class_attribute(kind: type, name: str) -> Any:
    """Give an attribute of a class or its bases as it is stored, None if there is none."""
    for base in _class_mro(kind):
        names = _class_dict(base)
        if name in names:
            return names[name]
    return None


def definition(key: str) -> Any:
    """Give the definition of that key, restored before whatever names it."""
    try:
        return registry.definitions[key]
    except KeyError:
        name, reason = key.partition(":")[2], registry.lost_definitions.get(key, "it is not in the checkpoint")
        raise MissingDefinition(f"it needs {name}, which could not be restored: {reason}") from None


class DefinitionKeys:
    """A key for each definition that streams have named; it holds them, so that their ids stay theirs."""

    def __init__(self) -> None:
        self._keys: dict[int, str] = {}
        self.by_key: dict[str, Any] = {}

    def key(self, value: Any) -> str:
        """Give the definition's key, a new one if it has none."""
        key = self._keys.get(id(value))
        if key is None:
            name = value.__name__ if not isinstance(value, type) else type.__dict__["__qualname__"].__get__(value)
            key = f"{len(self._keys)}:{name}"
            self._keys[id(value)] = key
            self.by_key[key] = value
        return key

    def adopt(self, definitions: dict[str, Any]) -> None:
        """Take over the keys of a restored checkpoint."""
        for key, value in definitions.items():
            self._keys[id(value)] = key
            self.by_key[key] = value

    def keep(self, keys: Iterable[str]) -> None:
        """Forget the definitions that no stream names any more."""
        wanted = set(keys)
        for key in [key for key in self.by_key if key not in wanted]:
            del self._keys[id(self.by_key.pop(key))]

    def __len__(self) -> int:
        return len(self.by_key)
