"""Classes and enumerations of cells, as bytes and back.

Each is made empty first and filled afterwards, so that its attributes may refer to it. None of the hooks that cells
defined runs while a class is made again (`__init_subclass__`, `__set_name__`, a metaclass's methods): their effects are
part of the state that is restored. Checkpoints refer to the functions here that make classes.
"""

import abc
import contextlib
import sys
import types
from collections.abc import Iterator
from types import MemberDescriptorType
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import (
    Reduced,
    class_attribute,
    class_names,
    is_definition,
    is_made_by_c,
)
from skep_workers.session.checkpoint.reducers.registrations import register

# Attributes that a class gets by itself: when it is made, or on first access.
_NOT_STATE: Final = frozenset(
    {
        "__dict__",
        "__weakref__",
        "__slots__",
        "__slotnames__",
        "__module__",
        "__qualname__",
        "_abc_impl",
        "__annotate_func__",
    }
)
_SET_ON_TYPES: Final = frozenset(
    {"__abstractmethods__", "__annotations__", "__doc__", "__dict__", "__module__", "__qualname__", "__type_params__"}
)
_IN_SKELETON: Final[tuple[str, ...]] = ("__module__", "__slots__", "__orig_bases__", "__doc__")


def reduce_class(kind: type) -> Reduced:
    """Reduce a class by value."""
    names = class_names(kind)
    skeleton: dict[str, Any] = {name: names[name] for name in _IN_SKELETON if name in names}
    skeleton["__qualname__"] = type.__dict__["__qualname__"].__get__(kind)
    if isinstance(skeleton.get("__slots__"), Iterator):
        skeleton["__slots__"] = [name for name in names if type(names[name]) is MemberDescriptorType]
    if isinstance(names.get("__dict__"), property):
        skeleton["__dict__"] = names["__dict__"]
    skeleton |= {name: value for name, value in names.items() if _is_shadowed(type(kind), name)}
    arguments = (type(kind), *name_and_bases(kind), skeleton, _is_enum(kind))
    return make_class, arguments, class_state(kind), None, None, set_class_state


def name_and_bases(kind: type) -> tuple[str, tuple[type, ...]]:
    """Return a class's name and its bases, whatever its metaclass returns for them."""
    return type.__dict__["__name__"].__get__(kind), type.__dict__["__bases__"].__get__(kind)


def class_state(kind: type) -> tuple[dict[str, Any], list[type]]:
    """Return what is set on a class after it is made: its attributes, and the classes registered with it."""
    names = class_names(kind)
    registered: list[type] = []
    if "_abc_impl" in names:
        dump = abc._get_dump(kind)[0]  # type: ignore[attr-defined]  # noqa: SLF001 - nothing public lists them
        registered = [found for found in (reference() for reference in dump) if found is not None]
    attributes = {
        name: value
        for name, value in names.items()
        if name not in _NOT_STATE and not _is_slot(kind, value) and not _is_shadowed(type(kind), name)
    }
    return attributes, registered


def _is_shadowed(meta: type, name: str) -> bool:
    """Return whether setting this attribute would call a descriptor of the metaclass, as for `__class__`."""
    found = class_attribute(meta, name)
    return found is not None and hasattr(type(found), "__set__") and name not in _SET_ON_TYPES


def _is_slot(kind: type, value: Any) -> bool:
    return type(value) is MemberDescriptorType and value.__objclass__ is kind


def _is_enum(kind: type) -> bool:
    enum = sys.modules.get("enum")
    return enum is not None and issubclass(type(kind), enum.EnumType)


def make_class(meta: type, name: str, bases: tuple[type, ...], skeleton: dict[str, Any], is_raw: bool) -> type:
    """Make a class without its content. is_raw: without calling its metaclass, whose effects are in the state."""
    if not is_raw:
        # The hooks of libraries run, since they may register classes elsewhere. If one of them fails, none runs.
        library = next(base for base in meta.__mro__ if not is_definition(base))
        with contextlib.suppress(Exception), silenced(bases, own_only=True):
            if library is meta:
                return types.new_class(name, bases, {"metaclass": meta}, lambda names: names.update(skeleton))
            made: type = library.__new__(meta, name, bases, dict(skeleton))
            return made
    with silenced(bases, own_only=False):
        return type.__new__(meta, name, bases, dict(skeleton))


def _do_nothing(_: type, /, **__: Any) -> None:
    pass


@contextlib.contextmanager
def silenced(bases: tuple[type, ...], *, own_only: bool) -> Iterator[None]:
    """Disable the `__init_subclass__` of classes of cells (or of all classes) meanwhile."""
    name = "__init_subclass__"
    hooks = []
    for base in {id(parent): parent for each in bases for parent in each.__mro__}.values():
        if name in vars(base) and base is not object and (is_definition(base) or not own_only):
            with contextlib.suppress(TypeError):  # made by C code
                original = vars(base)[name]
                type.__setattr__(base, name, classmethod(_do_nothing))
                hooks.append((base, original))
    try:
        yield
    finally:
        for base, original in hooks:
            type.__setattr__(base, name, original)


def set_class_state(kind: type, state: tuple[Any, ...]) -> None:
    """Set a class's attributes; register the class, and the classes that were registered with it."""
    attributes, registered, *registers = state
    for name, value in attributes.items():
        type.__setattr__(kind, name, value)
    for subclass in registered:
        abc.ABCMeta.register(kind, subclass)  # type: ignore[arg-type]
    for name in registers:
        if name is not None:
            register(kind, name)


# --- enumerations -----------------------------------------------------------------------------------------------------


def reduce_member(member: Any, *, by_value: bool) -> Reduced:
    """Reduce a member of a cell's enumeration: to its name, or by value in the stream of the enumeration itself."""
    kind = type(member)
    if not by_value:
        if kind._member_map_.get(member._name_) is member:
            return find_member, (kind, member._name_)
        return kind, (member._value_,)  # a combination of flags
    base: Any = next(base for base in kind.__mro__ if is_made_by_c(base))
    newargs = class_attribute(base, "__getnewargs__")
    arguments: tuple[Any, ...] = ()
    if newargs is not None:
        arguments = newargs(member)
    elif base is not object:
        arguments = base.__reduce__(member)[1]
    slots: Any = None
    if any("__slots__" in vars(parent) for parent in kind.__mro__ if not is_made_by_c(parent)):
        state = object.__getstate__(member)
        slots = state[1] if isinstance(state, tuple) else None
    state = dict(vars(member)) if slots is None else (dict(vars(member)), slots)
    return make_member, (base, kind, *arguments), state, None, None, set_member_state


def find_member(kind: Any, name: str) -> Any:
    """Return a member by name."""
    return kind._member_map_[name]


def make_member(base: type, kind: type, *arguments: Any) -> Any:
    """Make a member, before it is added to its enumeration."""
    return base.__new__(kind, *arguments)


def set_member_state(member: Any, state: dict[str, Any] | tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Set a member's attributes, and its slots if a mixin has some."""
    attributes, slots = state if isinstance(state, tuple) else (state, {})
    vars(member).update(attributes)
    for name, value in slots.items():
        object.__setattr__(member, name, value)
