"""Reducers for values of the standard library that pickle refuses, or restores as something else.

A reducer returns what `__reduce_ex__` would return. Checkpoints refer to the `make_` and `find_` functions here.
"""

import asyncio
import builtins
import codecs
import dataclasses
import decimal
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
from _thread import RLock
from collections import Counter, OrderedDict
from contextvars import Context, ContextVar, Token
from pickle import PicklingError  # bound early: user code may patch pickle
from struct import Struct
from threading import local
from types import MappingProxyType, MethodType
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced, Reducer, is_made_by_c, module_of, registry
from skep_workers.session.checkpoint.reducers.language.builtin_objects import (
    find_replaced,
    is_replaced,
    reduce_builtin_function,
)
from skep_workers.session.checkpoint.reducers.language.code import reduce_code
from skep_workers.session.checkpoint.reducers.language.descriptors import reduce_descriptor, reduce_slot
from skep_workers.session.checkpoint.reducers.language.functions import reduce_cell
from skep_workers.session.checkpoint.reducers.language.iterators import ITERATORS, reduce_iterator
from skep_workers.session.checkpoint.reducers.language.references import (
    reduce_mapping_proxy,
    reduce_memory_view,
    reduce_view_of,
    reduce_weak_method,
    reduce_weak_proxy,
    reduce_weak_reference,
)
from skep_workers.session.checkpoint.reducers.language.weak_references import reduce_container, reduce_finalizer
from skep_workers.session.checkpoint.reducers.libraries.models import Filled, reduce_filled
from skep_workers.session.checkpoint.reducers.owned_objects import reduce_decimal_context
from skep_workers.session.checkpoint.reducers.stdlib import logging_objects
from skep_workers.session.checkpoint.reducers.stdlib.asyncio_objects import (
    reduce_future,
    refuse_handle,
    the_session_loop,
)
from skep_workers.session.checkpoint.reducers.stdlib.context_variables import (
    reduce_context,
    reduce_context_variable,
    reduce_token,
)
from skep_workers.session.checkpoint.reducers.stdlib.files import (
    BUFFERED,
    IN_MEMORY,
    reduce_file,
    reduce_file_in_memory,
    reduce_stream,
)
from skep_workers.session.checkpoint.reducers.stdlib.locks import LOCK, reduce_lock, reduce_recursive_lock
from skep_workers.session.checkpoint.reducers.stdlib.paths import PATHS, reduce_path
from skep_workers.session.checkpoint.reducers.stdlib.thread_objects import reduce_thread_local
from skep_workers.session.display.publisher import DisplayHandle
from skep_workers.session.display.shell_lines import ShellLines
from skep_workers.session.magics.timing import TimeitResult
from skep_workers.session.output.diversion import CapturedOutput

ENGINE: Final = "skep_workers."


# --- codecs -----------------------------------------------------------------------------------------------------------


def _codec(info: codecs.CodecInfo) -> Any:
    # It is a tuple, but its class has other parameters than its items.
    try:
        is_found = codecs.lookup(info.name) is info
    except LookupError:
        is_found = False
    if is_found:
        return codecs.lookup, (info.name,)
    return codecs.CodecInfo, (*info, info.incrementalencoder, info.incrementaldecoder, info.name)


# --- collections ------------------------------------------------------------------------------------------------------


def _counter(counter: Counter[Any]) -> Any:
    # The items are restored separately, as for other dictionaries: their objects may refer to the counter.
    return Counter, (), vars(counter) or None, None, iter(dict.items(counter))


# --- functools --------------------------------------------------------------------------------------------------------


def _lru_cache(function: Any) -> Reduced:
    # The cache can't be read, and is not saved; pickle would save the function by its name only.
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
    # It refers to its type, to the function, and to a value if it has one.
    kind, compare, *rest = gc.get_referents(key)
    if rest or not isinstance(kind, type):
        raise PicklingError("a key of functools.cmp_to_key that has a value")
    return functools.cmp_to_key, (compare,)


# --- the rest ---------------------------------------------------------------------------------------------------------


def _match(match: re.Match[Any]) -> Reduced:
    pattern, text, spans = match.re, match.string, match.regs
    for method in ("match", "fullmatch", "search"):
        again = getattr(pattern, method)(text, match.pos, match.endpos)
        if again is not None and again.regs == spans:
            return make_match, (pattern, method, text, match.pos, match.endpos)
    again = pattern.match(text, match.start(), match.endpos)  # it may be one of several matches of finditer
    if again is None or again.regs != spans:
        raise PicklingError("a match that can't be found again")
    return make_match, (pattern, "match", text, match.start(), match.endpos)


def make_match(pattern: Any, method: str, text: Any, start: int, end: int) -> Any:
    """Make a match by matching again."""
    return getattr(pattern, method)(text, start, end)


def _method(method: MethodType) -> Reduced:
    if module_of(type(method.__self__)).startswith(ENGINE):
        for name, value in vars(builtins).items():  # display, input and the like
            if type(value) is MethodType and value == method:
                return getattr, (builtins, name)
        if getattr(method.__self__, method.__name__, None) == method:  # sys.stdout.flush
            return getattr, (method.__self__, method.__name__)
    return MethodType, (method.__func__, method.__self__)


def _captured_output(output: CapturedOutput) -> Reduced:
    return make_captured_output, (output.stdout, output.stderr, output.outputs)


def make_captured_output(stdout: str, stderr: str, outputs: Any) -> CapturedOutput:
    """Make the value that `%%capture` binds."""
    return CapturedOutput(stdout, stderr, outputs)


def _shell_lines(lines: ShellLines) -> Reduced:
    return make_shell_lines, (list(lines),)


def make_shell_lines(lines: list[str]) -> ShellLines:
    """Make the value that `lines = !command` binds."""
    return ShellLines.made_of(lines)


def _display_handle(handle: DisplayHandle) -> Reduced:
    return make_display_handle, (handle.display_id,)


def make_display_handle(display_id: str) -> DisplayHandle:
    """Make the value that `display(…, display_id=True)` returns."""
    return DisplayHandle(display_id)


def _timeit_result(result: TimeitResult) -> Reduced:
    return make_timeit_result, (result.loops, result.all_runs, result.digits)


def make_timeit_result(loops: int, all_runs: list[float], digits: int) -> TimeitResult:
    """Make the value that `%timeit -o` returns."""
    return TimeitResult(loops, all_runs, digits)


def reduce_engine_object(value: Any) -> Reduced:
    """Reduce an object of the engine's to the name by which user code accesses it. Raises PicklingError."""
    if value is registry.loop:
        return the_session_loop, ()
    for name, found in vars(builtins).items():
        if found is value:
            return getattr, (builtins, name)
    return reduce_stream(value, "a part of the session itself can't be saved")


def _named(module: str, name: str) -> Reducer:
    def reduce(_: Any) -> Reduced:
        return find_type, (module, name)

    return reduce


def _field_kind(value: Any) -> Reduced:
    return getattr, (dataclasses, value.name)


def reduce_builtin_type(kind: type) -> Any:
    """Reduce a type made by C code that its module doesn't expose, such as those of dict's views and iterators."""
    if is_replaced(kind, kind.__name__):
        return find_replaced, (kind.__name__,)
    if is_made_by_c(kind) and getattr(sys.modules.get(module_of(kind)), kind.__name__, None) is not kind:
        for module in ("types", "_collections_abc"):
            for name, value in vars(sys.modules[module]).items():
                if value is kind:
                    return find_type, (module, name)
    return NotImplemented


def find_type(module: str, name: str) -> Any:
    """Return the type under a name in a module."""
    return getattr(importlib.import_module(module), name)


REMADE_EMPTY: Final = frozenset({functools._lru_cache_wrapper})  # noqa: SLF001 - their cached results aren't saved

_ordered: Final = OrderedDict[Any, Any]()

REDUCERS: Final[dict[type, Reducer]] = {
    **dict.fromkeys(PATHS, reduce_path),
    CapturedOutput: _captured_output,
    DisplayHandle: _display_handle,
    ShellLines: _shell_lines,
    TimeitResult: _timeit_result,
    functools._lru_cache_wrapper: _lru_cache,  # noqa: SLF001 - the type has no public name
    functools.cached_property: _cached_property,
    type(functools.cmp_to_key(operator.is_)): _key_wrapper,
    type({}.keys()): reduce_view_of("keys"),
    type({}.values()): reduce_view_of("values"),
    type({}.items()): reduce_view_of("items"),
    type(_ordered.keys()): reduce_view_of("keys"),
    type(_ordered.values()): reduce_view_of("values"),
    type(_ordered.items()): reduce_view_of("items"),
    MappingProxyType: reduce_mapping_proxy,
    memoryview: reduce_memory_view,
    weakref.ReferenceType: reduce_weak_reference,
    weakref.ProxyType: reduce_weak_proxy,
    weakref.CallableProxyType: reduce_weak_proxy,
    weakref.WeakMethod: reduce_weak_method,
    weakref.finalize: reduce_finalizer,
    weakref.WeakKeyDictionary: reduce_container,
    weakref.WeakValueDictionary: reduce_container,
    weakref.WeakSet: reduce_container,
    re.Match: _match,
    codecs.CodecInfo: _codec,
    Counter: _counter,
    ContextVar: reduce_context_variable,
    Token: reduce_token,
    Context: reduce_context,
    asyncio.Future: reduce_future,
    asyncio.Task: reduce_future,
    asyncio.Handle: refuse_handle,
    asyncio.TimerHandle: refuse_handle,
    local: reduce_thread_local,
    types.BuiltinFunctionType: reduce_builtin_function,
    **dict.fromkeys(ITERATORS, reduce_iterator),
    **logging_objects.REDUCERS,
    Struct: lambda struct: (Struct, (struct.format,)),
    decimal.Context: reduce_decimal_context,
    random.SystemRandom: lambda _: (random.SystemRandom, ()),
    types.CellType: reduce_cell,
    types.CodeType: reduce_code,
    types.GetSetDescriptorType: reduce_slot,
    types.MemberDescriptorType: reduce_slot,
    property: reduce_descriptor,
    classmethod: reduce_descriptor,
    staticmethod: reduce_descriptor,
    MethodType: _method,
    io.TextIOWrapper: reduce_file,
    io.FileIO: reduce_file,
    **dict.fromkeys(BUFFERED, reduce_file),
    **dict.fromkeys(IN_MEMORY, reduce_file_in_memory),
    Filled: reduce_filled,
    LOCK: reduce_lock,
    RLock: reduce_recursive_lock,
    dataclasses._MISSING_TYPE: _named("dataclasses", "MISSING"),  # noqa: SLF001 - sentinels are known by identity
    dataclasses._KW_ONLY_TYPE: _named("dataclasses", "KW_ONLY"),  # type: ignore[attr-defined]  # noqa: SLF001
    dataclasses._HAS_DEFAULT_FACTORY_CLASS: _named("dataclasses", "_HAS_DEFAULT_FACTORY"),  # type: ignore[attr-defined]  # noqa: SLF001
    dataclasses._FIELD_BASE: _field_kind,  # type: ignore[attr-defined]  # noqa: SLF001
}
