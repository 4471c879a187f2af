"""How objects of a session become bytes: cloudpickle, taught that there is one namespace.

- A function that a cell defined is pickled by value, but with a reference to *the* namespace as its globals: after a
  restore it sees later rebindings, and `global` counters still count.
- Classes and functions of cells ("definitions") are shared by everything that mentions them. They are pickled by value
  in one stream of their own; every other stream names them by a key. So a class is one class after a restore, however
  many streams have instances of it.
- Modules go by name. Large buffers go out of band (pickle protocol 5), so that they are neither copied nor pickled.
"""

import functools
import io
import pickle
import sys
import weakref
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, Final

import cloudpickle
from cloudpickle import cloudpickle as _internals

PROTOCOL: Final = 5
MAIN: Final = "__main__"


class _Registry:
    """The process's namespace and the definitions that streams name; there is one namespace, so one of these."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.definitions: dict[str, Any] = {}


registry: Final = _Registry()


# --- what restored streams call ---------------------------------------------------------------------------------------


def the_namespace() -> dict[str, Any]:
    """Give the session's namespace."""
    return registry.names


def the_main_module() -> ModuleType:
    """Give the session's `__main__`."""
    return sys.modules[MAIN]


def definition(key: str) -> Any:
    """Give the definition of that key, restored before whatever names it."""
    return registry.definitions[key]


def make_function(code: CodeType, closure: tuple[Any, ...] | None) -> FunctionType:
    """Make a function of the session's namespace; the rest of it comes as state."""
    return FunctionType(code, registry.names, None, None, closure)


def set_function_state(function: FunctionType, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Give a function its attributes, after everything they mention has been made."""
    attributes, slots = state
    function.__dict__.update(attributes)
    for name, value in slots.items():
        setattr(function, name, value)


# --- definitions ------------------------------------------------------------------------------------------------------


def is_definition(value: object) -> bool:
    """Tell whether a value is a function or a class that a cell defined."""
    kind = type(value)
    if kind is FunctionType:
        return value.__globals__ is registry.names  # type: ignore[attr-defined]
    if isinstance(value, type):
        return getattr(value, "__module__", None) == MAIN or _is_dynamic_class(value)
    return False


def _is_dynamic_class(kind: type) -> bool:
    """Tell whether a class can't be found by its name: made by a call, or of a module that was made by hand."""
    module = sys.modules.get(getattr(kind, "__module__", "") or "")
    if module is None:
        return True
    found: Any = module
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is not kind


class DefinitionKeys:
    """A key for each definition that streams have named; it holds them, so that their ids stay theirs."""

    def __init__(self) -> None:
        self._keys: dict[int, str] = {}
        self.by_key: dict[str, Any] = {}

    def key(self, value: Any) -> str:
        """Give the definition's key, a new one if it has none."""
        key = self._keys.get(id(value))
        if key is None:
            key = f"{len(self._keys)}:{getattr(value, '__qualname__', '')}"
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


# --- the pickler ------------------------------------------------------------------------------------------------------


class Untrusted(Exception):
    """An object whose pickling runs code that isn't known to be short; only a forked child may do that."""


class SnapshotPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle ships no types
    """Pickles parts of one namespace.

    keys: where definitions get their keys from; None in the stream that holds the definitions themselves.
    is_trusting: raise Untrusted for objects of types that are not known to pickle fast and without user code.
    """

    def __init__(
        self,
        file: io.BytesIO,
        *,
        keys: DefinitionKeys | None,
        is_trusting: bool,
        buffer_callback: Callable[[pickle.PickleBuffer], Any],
    ) -> None:
        super().__init__(file, protocol=PROTOCOL, buffer_callback=buffer_callback)
        self._keys = keys
        self._is_trusting = is_trusting
        self.named: set[str] = set()
        self.files: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Decide about functions, classes and instances; everything else pickle knows by itself."""
        kind = type(obj)
        if kind is ModuleType:
            if obj is sys.modules.get(MAIN):
                return the_main_module, ()
            return super().reducer_override(obj)
        if kind is FunctionType or isinstance(obj, type):
            if not is_definition(obj):
                return super().reducer_override(obj)
            if self._keys is not None:
                key = self._keys.key(obj)
                self.named.add(key)
                return definition, (key,)
            return self._function(obj) if kind is FunctionType else super().reducer_override(obj)
        reduce = _REDUCERS.get(kind)
        if reduce is not None:
            return reduce(obj)
        if self._is_trusting and not _is_trusted(kind):
            raise Untrusted(kind.__qualname__)
        return super().reducer_override(obj)

    def _function(self, function: FunctionType) -> Any:
        attributes, slots = _internals._function_getstate(function)  # noqa: SLF001 - the part of cloudpickle we reuse
        for name in ("__globals__", "_cloudpickle_submodules", "__closure__"):
            slots.pop(name, None)
        self.files.add(function.__code__.co_filename)
        arguments = (function.__code__, function.__closure__)
        return make_function, arguments, (attributes, slots), None, None, set_function_state


def _reduce_lru_cache(function: Any) -> Any:
    """Save a cached function without its cache, which can't be read; pickle would save it by its name only."""
    return _make_lru_cache, (function.__wrapped__, function.cache_parameters())


def _make_lru_cache(function: Any, parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


def _reduce_weak_dict(weak: Any) -> Any:
    return _make_weak_dict, (type(weak) is weakref.WeakKeyDictionary, dict(weak.items()))


def _make_weak_dict(by_key: bool, items: dict[Any, Any]) -> Any:
    return (weakref.WeakKeyDictionary if by_key else weakref.WeakValueDictionary)(items)


_REDUCERS: Final[dict[type, Callable[[Any], Any]]] = {
    functools._lru_cache_wrapper: _reduce_lru_cache,  # noqa: SLF001 - the type has no public name
    weakref.WeakKeyDictionary: _reduce_weak_dict,
    weakref.WeakValueDictionary: _reduce_weak_dict,
    weakref.WeakSet: lambda weak: (weakref.WeakSet, (list(weak),)),
    weakref.ReferenceType: lambda reference: (weakref.ref, (reference(),)),
}

_TRUSTED_MODULES: Final = frozenset(
    {"builtins", "collections", "datetime", "decimal", "fractions", "pathlib", "uuid", "re"}
)


def _is_trusted(kind: type) -> bool:
    if kind is BuiltinFunctionType or kind is CodeType:
        return True
    if is_definition(kind):
        return _pickles_plainly(kind)
    module = getattr(kind, "__module__", None)
    return module in _TRUSTED_MODULES or (
        module == "numpy" and kind.__name__ in {"ndarray", "dtype", "float64", "int64"}
    )


def _pickles_plainly(kind: type) -> bool:
    """Tell whether pickling an instance runs none of its class's code."""
    hooks = ("__reduce__", "__reduce_ex__", "__getstate__", "__getattribute__")
    if any(getattr(kind, hook, None) is not getattr(object, hook, None) for hook in hooks):
        return False
    return not any(hasattr(kind, hook) for hook in ("__getnewargs__", "__getnewargs_ex__", "__getattr__"))
