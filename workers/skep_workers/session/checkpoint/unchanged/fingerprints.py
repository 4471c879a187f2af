"""Which values can be proved unchanged without pickling them. A snapshot may skip nothing else.

An object is its own proof if neither it nor anything it reaches can change: then the same object is the same state. A
function or a class can change, but in few places. A fingerprint of those places, by identity, proves that it has not;
everything in the fingerprint is immutable, and the fingerprint keeps it alive. Values that are not covered here are
pickled for every snapshot.
"""

import sys
from gc import get_referents  # bound early: user code may patch gc
from re import Pattern
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import TYPE_PARAMETERS, is_among, is_definition
from skep_workers.session.checkpoint.reducers.origins import names_of, origins
from skep_workers.session.checkpoint.reducers.owned_objects import LOGGERS, owned
from skep_workers.session.checkpoint.unchanged.logging_fingerprints import LOGGING_KINDS, logging_fingerprint

_ATOMS: Final = frozenset(
    {
        type(None),
        bool,
        int,
        float,
        complex,
        str,
        bytes,
        type(Ellipsis),
        type(NotImplemented),
        range,
        CodeType,
        Pattern,
        *LOGGERS,
    }
)
_PLAIN_DESCRIPTORS: Final = (GetSetDescriptorType, MemberDescriptorType, WrapperDescriptorType)
_CONTAINERS: Final = frozenset({list, set, dict})
MAX_ITEMS: Final = 1000  # of a tuple: checking a larger one costs more than it saves

# Attributes that an import sets once, and that code doesn't change.
_SET_BY_IMPORTS: Final = frozenset({"__builtins__", "__cached__", "__file__", "__loader__", "__spec__"})

Fingerprint = tuple[Any, ...]


def is_immutable(value: object, depth: int = 0) -> bool:
    """Return whether the value and all it reaches can't change. Modules count: they are saved by name."""
    kind = type(value)
    if type(kind) is type and kind in _ATOMS:  # a metaclass may compare its classes by code of its own
        return True
    if issubclass(kind, ModuleType):
        return not origins.is_own(value)  # type: ignore[arg-type]
    if kind is BuiltinFunctionType:  # a method of whatever it is bound to
        owner = value.__self__  # type: ignore[attr-defined]
        return owner is None or (depth < 4 and is_immutable(owner, depth + 1))
    if (kind is tuple or kind is frozenset) and depth < 4:
        return len(value) <= MAX_ITEMS and all(is_immutable(item, depth + 1) for item in value)  # type: ignore[arg-type, attr-defined]
    return issubclass(kind, type) and not is_definition(value)


def fingerprint(value: object) -> Fingerprint | None:
    """Return a value that shows, compared by `same`, whether a definition has changed; None if nothing shows that."""
    kind = type(value)
    if kind is FunctionType:
        return _function_fingerprint(value)  # type: ignore[arg-type]
    if is_among(kind, LOGGING_KINDS):
        return logging_fingerprint(value, is_immutable)
    if not is_definition(value):
        return _reference_fingerprint(value)
    if type(value) in TYPE_PARAMETERS:
        return _type_parameter_fingerprint(value)
    if issubclass(type(value), ModuleType):
        return _module_fingerprint(value)  # type: ignore[arg-type]
    return _class_fingerprint(value)  # type: ignore[arg-type]


def same(one: Fingerprint | None, other: Fingerprint | None) -> bool:
    """Return whether two fingerprints are of the same state: the same objects in the same places."""
    if one is None or other is None or len(one) != len(other):
        return False
    return all(left is right for left, right in zip(one, other, strict=True))


def _function_fingerprint(function: FunctionType) -> Fingerprint | None:
    contents: list[Any] = []
    for cell in function.__closure__ or ():
        try:
            contents.append(cell.cell_contents)
        except ValueError:
            return None
    parts = [function.__defaults__, *contents]
    if function.__dict__ or function.__kwdefaults__ or not all(is_immutable(part) for part in parts):
        return None
    annotations: list[Any] = []
    for name, annotation in function.__annotations__.items():
        if not is_immutable(annotation):
            return None
        annotations += (name, annotation)
    return (
        function,
        function.__code__,
        function.__name__,
        function.__qualname__,
        function.__doc__,
        *parts,
        *annotations,
    )


def _reference_fingerprint(value: Any) -> Fingerprint | None:
    """Return the proof for an object that is saved as a reference to a module, which still has it."""
    is_method = type(value) is MethodType or type(value) is BuiltinFunctionType
    owner = value.__self__ if is_method else value
    place = owned.place(owner)
    if place is None:
        return None
    if type(value) is MethodType and is_definition(value.__func__):
        return None
    return (value, owner, *place)


def _type_parameter_fingerprint(value: object) -> Fingerprint:
    # From Python 3.12 on most are made by C code, don't expose their dict, and evaluate a bound on first access.
    parts: list[Any] = []
    for part in get_referents(value):
        parts += part.values() if type(part) is dict else (part,)
    return (value, *parts)


def _class_fingerprint(kind: type) -> Fingerprint | None:
    if type(kind) is not type:
        return None  # a metaclass may keep state anywhere
    parts: list[Any] = [kind, kind.__bases__, kind.__qualname__]
    if any(is_definition(base) for base in kind.__bases__):
        return None
    for name, value in vars(kind).items():
        if name in {"__dict__", "__weakref__", "__slotnames__"} or isinstance(value, _PLAIN_DESCRIPTORS):
            continue
        inner = _member_fingerprint(value)
        if inner is None:
            return None
        parts += (name, value, *inner)
    return tuple(parts)


def _module_fingerprint(module: ModuleType) -> Fingerprint | None:
    if type(module) is not ModuleType:
        return None  # its class may keep state anywhere
    parts: list[Any] = [module]
    for name, value in names_of(module).items():
        if name in _SET_BY_IMPORTS:
            parts.append(value)
            continue
        inner = () if _is_own_module(value) else _global_fingerprint(value)
        if inner is None:
            return None
        parts += (name, value, *inner)
    return tuple(parts)


def _global_fingerprint(value: Any) -> Fingerprint | None:
    kind = type(value)
    if is_among(kind, _CONTAINERS) and len(value) <= MAX_ITEMS:
        items = [part for item in value.items() for part in item] if kind is dict else list(value)
        return (len(items), *items) if all(is_immutable(item) for item in items) else None
    if issubclass(kind, type) and is_definition(value):
        return _class_fingerprint(value)
    return _member_fingerprint(value)


def _is_own_module(value: object) -> bool:
    """Return whether the value is one of the modules that have a fingerprint of their own."""
    return type(value) is ModuleType and sys.modules.get(value.__name__) is value and origins.is_own(value)


def _member_fingerprint(value: Any) -> Fingerprint | None:
    if type(value) is FunctionType:
        return _function_fingerprint(value)
    if type(value) in {staticmethod, classmethod}:
        return fingerprint(value.__func__)
    if type(value) is property:
        found: list[Any] = []
        for function in (value.fget, value.fset, value.fdel):
            if function is not None:
                inner = fingerprint(function)
                if inner is None:
                    return None
                found += inner
        return tuple(found)
    if type(value) is dict and all(type(k) is str and is_immutable(v) for k, v in value.items()):
        return tuple(part for item in value.items() for part in item)  # __annotations__
    return () if is_immutable(value) else None
