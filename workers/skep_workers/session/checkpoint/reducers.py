"""How values of the standard library are saved that pickle refuses, or gives back as something else.

A reducer gives what `__reduce_ex__` would. What is made in a restored stream by a function of this module stays made by
it: checkpoints name these functions.
"""

import builtins
import dataclasses
import functools
import gc
import importlib
import io
import operator
import random
import re
import sys
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context, ContextVar
from pickle import PicklingError  # bound early: user code may patch pickle
from struct import Struct
from types import MappingProxyType, MethodType
from typing import Any, Final

from skep_workers.session.checkpoint.defining import Reduced, reduce_cell
from skep_workers.session.checkpoint.definitions import class_attribute, is_made_by_c, module_of, registry

ENGINE: Final = "skep_workers."

Reducer = Callable[[Any], Any]


# --- functools --------------------------------------------------------------------------------------------------------


def _lru_cache(function: Any) -> Reduced:
    # Without its cache, which can't be read; pickle would save it by its name only.
    attributes = {name: value for name, value in vars(function).items() if name not in _MADE_BY_LRU_CACHE}
    return make_lru_cache, (function.__wrapped__, function.cache_parameters()), attributes or None


_MADE_BY_LRU_CACHE: Final = frozenset({"__wrapped__", "cache_parameters"})


def make_lru_cache(function: Any, parameters: dict[str, Any]) -> Any:
    """Make a function with an empty cache."""
    return functools.lru_cache(**parameters)(function)


def _cached_property(value: Any) -> Reduced:
    state = {name: part for name, part in vars(value).items() if name not in {"lock", "func"}}
    return functools.cached_property, (value.func,), state


def _key_wrapper(key: Any) -> Reduced:
    # The function is what it refers to besides its type; only a key that was given a value has that, too.
    kind, compare, *rest = gc.get_referents(key)
    if rest or not isinstance(kind, type):
        raise PicklingError("a key of functools.cmp_to_key that has a value")
    return functools.cmp_to_key, (compare,)


# --- views and references ---------------------------------------------------------------------------------------------


def _view_of(method: str) -> Reducer:
    def reduce(view: Any) -> Reduced:
        [source] = gc.get_referents(view)
        return make_view, (source, method)

    return reduce


def make_view(source: Any, method: str) -> Any:
    """Give a view of a dict."""
    return getattr(type(source), method)(source)


def _mapping_proxy(proxy: Any) -> Reduced:
    [source] = gc.get_referents(proxy)
    if type(source) is dict:
        owner = getattr(source.get("__dict__", source.get("__weakref__")), "__objclass__", None)
        if owner is not None and vars(owner) == proxy:
            return vars, (owner,)  # what vars() gave for a class
    return MappingProxyType, (source,)


def _memory_view(view: memoryview) -> Reduced:
    source = view.obj
    if view.c_contiguous and type(source) is not memoryview:
        whole = memoryview(source)
        start = 0 if view.nbytes == whole.nbytes else _offset(whole, view)
        if start is not None and whole.c_contiguous:
            return make_memory_view, (source, start, view.nbytes, view.format, view.shape, view.readonly)
    part = view.tobytes() if view.readonly else bytearray(view.tobytes())
    return make_memory_view, (part, 0, view.nbytes, view.format, view.shape, view.readonly)


def _offset(whole: memoryview, view: memoryview) -> int | None:
    """Tell where in `whole` a part begins; only memory that can be written tells its address."""
    if whole.readonly or view.readonly or not view.nbytes:
        return None
    import ctypes  # noqa: PLC0415 - rarely needed, and takes a while

    addresses = [ctypes.addressof(ctypes.c_char.from_buffer(each)) for each in (whole.cast("B"), view.cast("B"))]
    return addresses[1] - addresses[0]


def make_memory_view(source: Any, start: int, size: int, layout: str, shape: tuple[int, ...], readonly: bool) -> Any:
    """Give a view of a part of some memory."""
    view = memoryview(source).cast("B")[start : start + size]
    if (layout, shape) != ("B", (size,)):
        view = view.cast(layout, shape)  # type: ignore[call-overload]
    return view.toreadonly() if readonly else view


def _weak_reference(reference: Any) -> Reduced:
    found = reference()
    if found is None:
        return make_dead_reference, ()
    return weakref.ref, (found, reference.__callback__)


class _Gone:
    """What dead references referred to."""


def make_dead_reference() -> Any:
    """Give a reference to nothing."""
    return weakref.ref(_Gone())


def _weak_proxy(proxy: Any) -> Reduced:
    try:
        return weakref.proxy, (proxy.__init__.__self__,)
    except ReferenceError:
        return make_dead_proxy, ()


def make_dead_proxy() -> Any:
    """Give a proxy of nothing."""
    return weakref.proxy(_Gone())


def _weak_method(reference: Any) -> Reduced:
    method = reference()
    return (make_dead_reference, ()) if method is None else (weakref.WeakMethod, (method,))


def _weak_dict(weak: Any) -> Reduced:
    return make_weak_dict, (type(weak) is weakref.WeakKeyDictionary, dict(weak.items()))


def make_weak_dict(by_key: bool, items: dict[Any, Any]) -> Any:
    """Make a weak dict of what lives."""
    return (weakref.WeakKeyDictionary if by_key else weakref.WeakValueDictionary)(items)


# --- exceptions -------------------------------------------------------------------------------------------------------


def reduce_exception(exc: BaseException) -> Any:
    """Save an exception with its cause and context, without a call of the `__init__` that a cell gave it."""
    kind = type(exc)
    base: Any = next(base for base in kind.__mro__ if is_made_by_c(base))
    if (
        class_attribute(kind, "__reduce__") is not class_attribute(base, "__reduce__")
        or class_attribute(kind, "__reduce_ex__") is not object.__reduce_ex__
        or class_attribute(kind, "__setstate__") is not class_attribute(base, "__setstate__")
        or class_attribute(kind, "__getstate__") is not class_attribute(base, "__getstate__")
    ):
        return NotImplemented
    reduced = base.__reduce__(exc)
    fields = dict(reduced[2]) if len(reduced) > 2 and isinstance(reduced[2], dict) else {}
    state = (fields, exc.__cause__, exc.__context__, exc.__suppress_context__)
    return make_exception, (base, kind, *reduced[1]), state, None, None, set_exception_state


def make_exception(base: Any, kind: Any, *arguments: Any) -> BaseException:
    """Make an exception as its built-in base does."""
    made: BaseException = base.__new__(kind, *arguments)
    base.__init__(made, *arguments)
    return made


def set_exception_state(exc: BaseException, state: tuple[dict[str, Any], Any, Any, bool]) -> None:
    """Give an exception its fields and what it came of."""
    fields, exc.__cause__, exc.__context__, exc.__suppress_context__ = state
    exc.__setstate__(fields)


# --- the rest ---------------------------------------------------------------------------------------------------------


def _match(match: re.Match[Any]) -> Reduced:
    pattern, text, spans = match.re, match.string, match.regs
    for method in ("match", "fullmatch", "search"):
        again = getattr(pattern, method)(text, match.pos, match.endpos)
        if again is not None and again.regs == spans:
            return make_match, (pattern, method, text, match.pos, match.endpos)
    again = pattern.match(text, match.start(), match.endpos)  # one of many that finditer gave
    if again is None or again.regs != spans:
        raise PicklingError("a match that can't be found again")
    return make_match, (pattern, "match", text, match.start(), match.endpos)


def make_match(pattern: Any, method: str, text: Any, start: int, end: int) -> Any:
    """Match again."""
    return getattr(pattern, method)(text, start, end)


def _context_variable(var: ContextVar[Any]) -> Reduced:
    missing = _Gone()
    try:
        default: tuple[Any, ...] = (Context().run(var.get),)
    except LookupError:
        default = ()
    value = registry.context.get(var, missing) if registry.context is not None else missing
    state = None if value is missing else (value,)
    return make_context_variable, (var.name, default), state, None, None, set_context_variable


def make_context_variable(name: str, default: tuple[Any, ...]) -> ContextVar[Any]:
    """Make a context variable."""
    return ContextVar(name, default=default[0]) if default else ContextVar(name)


def set_context_variable(var: ContextVar[Any], state: tuple[Any]) -> None:
    """Set a context variable where cells run."""
    if registry.context is not None:
        registry.context.run(var.set, state[0])


def _open_file(file: Any) -> Reduced:
    return _stream(file, "an open file can't be saved")


def _stream(file: Any, otherwise: str) -> Reduced:
    for name in ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__"):
        if getattr(sys, name, None) is file:
            return getattr, (sys, name)
    raise PicklingError(otherwise)


def _method(method: MethodType) -> Reduced:
    if module_of(type(method.__self__)).startswith(ENGINE):
        for name, value in vars(builtins).items():  # display, input and the like
            if type(value) is MethodType and value == method:
                return getattr, (builtins, name)
    return MethodType, (method.__func__, method.__self__)


def reduce_engine_object(value: Any) -> Reduced:
    """Save an object of the engine's by the name under which user code gets it. Raises PicklingError."""
    for name, found in vars(builtins).items():
        if found is value:
            return getattr, (builtins, name)
    return _stream(value, "a part of the session itself can't be saved")


def _named(module: str, name: str) -> Reducer:
    def reduce(_: Any) -> Reduced:
        return find_type, (module, name)

    return reduce


def _field_kind(value: Any) -> Reduced:
    return getattr, (dataclasses, value.name)


def reduce_builtin_type(kind: type) -> Any:
    """Save a type made by C code that its module doesn't name, as those of dict's views and iterators."""
    if is_made_by_c(kind) and getattr(sys.modules.get(module_of(kind)), kind.__name__, None) is not kind:
        for module in ("types", "_collections_abc"):
            for name, value in vars(sys.modules[module]).items():
                if value is kind:
                    return find_type, (module, name)
    return NotImplemented


def find_type(module: str, name: str) -> Any:
    """Give what a module has under a name."""
    return getattr(importlib.import_module(module), name)


_ordered: Final = OrderedDict[Any, Any]()

REDUCERS: Final[dict[type, Reducer]] = {
    functools._lru_cache_wrapper: _lru_cache,  # noqa: SLF001 - the type has no public name
    functools.cached_property: _cached_property,
    type(functools.cmp_to_key(operator.is_)): _key_wrapper,
    type({}.keys()): _view_of("keys"),
    type({}.values()): _view_of("values"),
    type({}.items()): _view_of("items"),
    type(_ordered.keys()): _view_of("keys"),
    type(_ordered.values()): _view_of("values"),
    type(_ordered.items()): _view_of("items"),
    MappingProxyType: _mapping_proxy,
    memoryview: _memory_view,
    weakref.ReferenceType: _weak_reference,
    weakref.ProxyType: _weak_proxy,
    weakref.CallableProxyType: _weak_proxy,
    weakref.WeakMethod: _weak_method,
    weakref.WeakKeyDictionary: _weak_dict,
    weakref.WeakValueDictionary: _weak_dict,
    weakref.WeakSet: lambda weak: (weakref.WeakSet, (list(weak),)),
    re.Match: _match,
    ContextVar: _context_variable,
    Struct: lambda struct: (Struct, (struct.format,)),
    random.SystemRandom: lambda _: (random.SystemRandom, ()),
    types.CellType: reduce_cell,
    MethodType: _method,
    io.TextIOWrapper: _open_file,
    dataclasses._MISSING_TYPE: _named("dataclasses", "MISSING"),  # noqa: SLF001 - sentinels are known by identity
    dataclasses._KW_ONLY_TYPE: _named("dataclasses", "KW_ONLY"),  # type: ignore[attr-defined]  # noqa: SLF001
    dataclasses._HAS_DEFAULT_FACTORY_CLASS: _named("dataclasses", "_HAS_DEFAULT_FACTORY"),  # type: ignore[attr-defined]  # noqa: SLF001
    dataclasses._FIELD_BASE: _field_kind,  # type: ignore[attr-defined]  # noqa: SLF001
}
