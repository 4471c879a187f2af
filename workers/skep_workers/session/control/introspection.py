"""Introspection of objects without running their code: no property, no `__getattr__`, no `__len__`, no `__repr__`.

The attributes of a class are read by `type`'s own descriptors, since a metaclass may define others. Types are compared
by identity, since `in` and `==` call a metaclass too. What can't be found in this way is reported as unknown.
"""

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final

MAX_SHORT_REPR: Final = 120
MAX_SHOWN_ITEMS: Final = 10
MAX_SHOWN_BITS: Final = 2000
MISSING: Final = object()

FUNCTION_KINDS: Final = (
    FunctionType,
    BuiltinFunctionType,
    MethodType,
    MethodDescriptorType,
    ClassMethodDescriptorType,
    MethodWrapperType,
    WrapperDescriptorType,
)
PLAIN_KINDS: Final = (type(None), bool, int, float, complex, str, bytes)
_BRACKETS: Final = ((list, "[]"), (tuple, "()"), (set, "{}"), (frozenset, "{}"), (dict, "{}"))
_SIZED: Final = (str, bytes, bytearray, list, tuple, dict, set, frozenset, range)
_ARRAY_LIBRARIES: Final = frozenset({"numpy", "pandas", "polars", "torch", "scipy", "xarray"})

_name_of: Final = type.__dict__["__qualname__"].__get__
_module_of: Final = type.__dict__["__module__"].__get__
_members_of: Final = type.__dict__["__dict__"].__get__


def is_one_of(kind: type, kinds: Iterable[type]) -> bool:
    """Return whether `kind` is identical to one of these types."""
    return any(kind is each for each in kinds)


def is_class(value: object) -> bool:
    """Return whether the value is a class, whatever its `__class__` is."""
    return issubclass(type(value), type)


def module_name(kind: type) -> str:
    """Return the `__module__` of a class."""
    module = _module_of(kind)
    return module if type(module) is str else "?"


def type_name(value: object) -> str:
    """Return the dotted name of an object's type."""
    kind = type(value)
    module = module_name(kind)
    return str(_name_of(kind)) if module == "builtins" else f"{module}.{_name_of(kind)}"


def attempt(read: Callable[[], Any]) -> Any:
    """Return the result of `read`, or None if it raises."""
    try:
        return read()
    except BaseException:  # noqa: BLE001 - a value that can't be read is unknown, whatever a library raises
        return None


def attribute_of(subject: Any, name: str) -> Any:
    """Return an attribute as it is stored (a property, not its value), or MISSING."""
    if type(subject) is ModuleType:
        return vars(subject).get(name, MISSING)
    try:
        found = inspect.getattr_static(subject, name)
    except AttributeError:
        return MISSING
    return found.__func__ if is_one_of(type(found), (staticmethod, classmethod)) else found


def attribute_names(subject: Any) -> list[str]:
    """Return the names of an object's own attributes and of those of its classes."""
    names: set[str] = set(own_attributes(subject))
    for kind in _mro(subject if is_class(subject) else type(subject)):
        names.update(_members_of(kind))
    return sorted(name for name in names if type(name) is str)


def own_attributes(subject: Any) -> dict[str, Any]:
    """Return the attributes that are stored in the object itself."""
    if type(subject) is ModuleType:
        return dict(vars(subject))
    for kind in _mro(type(subject)):
        slot = _members_of(kind).get("__dict__")
        if slot is not None:
            own = slot.__get__(subject) if type(slot) is GetSetDescriptorType else None
            return own if type(own) is dict else {}
    return {}


def function_of(subject: Any) -> Any:
    """Return the Python function that a property, a partial, a cache or a decorator's object stands for, or MISSING."""
    kind = type(subject)
    if kind is property:
        found = subject.fget
    elif kind is functools.partial:
        found = subject.func
    else:
        found = MISSING if is_class(subject) else own_attributes(subject).get("__wrapped__", MISSING)
    return found if type(found) is FunctionType else MISSING


def own_doc(subject: Any) -> str | None:
    """Return the `__doc__` that C code has for this object, not for its class, or None."""
    for kind in _mro(type(subject)):
        slot = _members_of(kind).get("__doc__")
        if slot is not None:
            is_of_c = is_one_of(type(slot), (GetSetDescriptorType, MemberDescriptorType))
            found = attempt(functools.partial(slot.__get__, subject)) if is_of_c else None
            return found if type(found) is str else None
    return None


def describe_variable(value: Any) -> dict[str, Any]:
    """Return type, shape, length, size in bytes and a short repr, each only if that is safe."""
    kind = type(value)
    is_array = module_name(kind).partition(".")[0] in _ARRAY_LIBRARIES
    shape = attempt(lambda: [int(part) for part in value.shape]) if is_array else None
    size = attempt(lambda: int(value.nbytes)) if is_array else None
    if is_array and size is None:
        size = attempt(lambda: int(value.memory_usage(deep=False).sum()))
    return {
        "type": type_name(value),
        "shape": shape,
        "length": len(value) if is_one_of(kind, _SIZED) else None,
        "bytes": size if size is not None else attempt(lambda: object.__sizeof__(value)),
        "repr": short_repr(value),
    }


def short_repr(value: Any) -> str:
    """Return the repr of plain data and of the first items of plain containers, otherwise only the type."""
    kind = type(value)
    if kind is str or kind is bytes:
        return _cut(repr(value[: MAX_SHORT_REPR + 1]))
    if kind is int and value.bit_length() > MAX_SHOWN_BITS:
        return f"<int of {value.bit_length()} bits>"
    if is_one_of(kind, PLAIN_KINDS):
        return _cut(repr(value))
    for container, brackets in _BRACKETS:
        if kind is container:
            return _cut(_container_repr(value, brackets))
    if kind is ModuleType:
        return _cut(f"<module {vars(value).get('__name__')}>")
    if is_class(value):
        return _cut(f"<class {_name_of(value)}>")
    if is_one_of(kind, FUNCTION_KINDS):
        return _cut(f"<{type_name(value)} {value.__qualname__}>")
    return _cut(f"<{type_name(value)}>")


def _container_repr(value: Any, brackets: str) -> str:
    try:
        # One call, during which no other thread changes the container.
        items = list(itertools.islice(value.items() if type(value) is dict else value, MAX_SHOWN_ITEMS + 1))
    except RuntimeError:
        return f"<{type_name(value)} of {len(value)}>"
    shown = [
        f"{_item_repr(item[0])}: {_item_repr(item[1])}" if type(value) is dict else _item_repr(item)
        for item in items[:MAX_SHOWN_ITEMS]
    ]
    return brackets[0] + ", ".join([*shown, *("…" for _ in items[MAX_SHOWN_ITEMS:])]) + brackets[1]


def _item_repr(item: Any) -> str:
    return short_repr(item) if is_one_of(type(item), PLAIN_KINDS) else f"<{type_name(item)}>"


def _mro(kind: type) -> tuple[type, ...]:
    mro: tuple[type, ...] = type.__dict__["__mro__"].__get__(kind)
    return mro


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHORT_REPR else text[: MAX_SHORT_REPR - 1] + "…"
