"""Classes and callbacks of ctypes, as bytes and back.

Arrays, pointers and function types are made by the documented calls, so that each is the class that ctypes itself
returns. A structure is made with its base's metaclass, and its fields are set afterwards, as they may point at it.
ctypes is not imported here; a session that has such a class has imported it.
"""

import contextlib
import gc
import operator
import sys
import types
from pickle import PicklingError  # bound early: user code may patch pickle
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced, class_attribute, class_names, is_made_by_c
from skep_workers.session.checkpoint.reducers.language.classes import class_state, name_and_bases, silenced
from skep_workers.session.checkpoint.reducers.language.instances import set_instance_state
from skep_workers.session.checkpoint.reducers.libraries.arrays import bytes_of

_SWAPPED: Final = ("__ctype_be__", "__ctype_le__")
_SKELETON: Final = ("__module__", "__doc__", "__slots__", "_type_", "_length_", "_flags_", "_restype_", "_argtypes_")
_LAST: Final = "_fields_"  # must be set last: setting it computes the layout, from attributes that are set already
_FIELD: Final = "CField"


def is_c_type(kind: type) -> bool:
    """Return whether a class is one of ctypes, or derived from one by a cell."""
    return "ctypes" in sys.modules and any(
        is_made_by_c(base) and base.__module__ == "_ctypes" for base in type.__dict__["__mro__"].__get__(kind)
    )


def reduce_c_type(kind: Any) -> Reduced:
    """Reduce a class of ctypes."""
    found = _by_call(kind)
    if found is not None:
        return found
    names = class_names(kind)
    skeleton: dict[str, Any] = {name: names[name] for name in _SKELETON if name in names}
    skeleton["__qualname__"] = type.__dict__["__qualname__"].__get__(kind)
    attributes, _ = class_state(kind)
    state = {
        name: value
        for name, value in attributes.items()
        if name not in _SKELETON and name != _LAST and type(value).__qualname__ != _FIELD and name not in _SWAPPED
    }
    if _LAST in names:
        state[_LAST] = names[_LAST]
    return make_c_type, (*name_and_bases(kind), skeleton), state, None, None, set_c_type_state


def _by_call(kind: Any) -> Reduced | None:
    """Return the documented call that makes the class; None if a `class` statement did."""
    ctypes = sys.modules["ctypes"]
    if issubclass(kind, ctypes.Array):
        made = kind._type_ * kind._length_
        return (operator.mul, (kind._type_, kind._length_)) if made is kind else None
    target = class_names(kind).get("_type_")
    if isinstance(target, type) and ctypes.POINTER(target) is kind:
        return ctypes.POINTER, (target,)
    if class_attribute(kind, "_flags_") is not None and name_and_bases(kind)[0] == "CFunctionType":
        return make_function_type, (kind._flags_, kind._restype_, tuple(kind._argtypes_))
    for name in _SWAPPED:
        for known in vars(ctypes).values():
            if isinstance(known, type) and class_names(known).get(name) is kind:
                return getattr, (known, name)
    return None


def make_c_type(name: str, bases: tuple[type, ...], skeleton: dict[str, Any]) -> type:
    """Make a structure, a union or another class of ctypes that a cell defined, without its fields."""
    with silenced(bases, own_only=True):
        return types.new_class(name, bases, None, lambda space: space.update(skeleton))


def set_c_type_state(kind: Any, attributes: dict[str, Any]) -> None:
    """Set a class's attributes, its fields last."""
    for name, value in attributes.items():
        setattr(kind, name, value)


def make_function_type(flags: int, result: Any, arguments: tuple[Any, ...]) -> Any:
    """Make a type of C functions by CFUNCTYPE or PYFUNCTYPE."""
    import _ctypes  # noqa: PLC0415 - see above
    import ctypes  # noqa: PLC0415 - see above

    if flags & _ctypes.FUNCFLAG_PYTHONAPI:
        return ctypes.PYFUNCTYPE(result, *arguments)
    return ctypes.CFUNCTYPE(
        result,
        *arguments,
        use_errno=bool(flags & _ctypes.FUNCFLAG_USE_ERRNO),
        use_last_error=bool(flags & _ctypes.FUNCFLAG_USE_LASTERROR),
    )


def is_c_function(kind: type) -> bool:
    """Return whether instances of a class are C functions, or Python functions that C can call."""
    ctypes = sys.modules.get("ctypes")
    return ctypes is not None and class_attribute(kind, "_flags_") is not None and is_c_type(kind)


def reduce_c_function(function: Any) -> Reduced:
    """Reduce a Python function that C may call. Raises PicklingError for a function of a library."""
    kind = type(function)
    with contextlib.suppress(AttributeError):
        kept = [type(each).__name__ for each in (function._objects or {}).values()]  # noqa: SLF001 - it is documented
        if "CThunkObject" in kept:
            called = next(each for each in gc.get_referents(function) if each is not kind)
            return kind, (called,)
    raise PicklingError("a function of a C library can't be saved")


def is_c_value(kind: type) -> bool:
    """Return whether instances of a class are objects of ctypes that have memory."""
    return is_c_type(kind)


def place_of(value: Any) -> tuple[int, int]:
    """Return the address and the size of an object's memory."""
    ctypes = sys.modules["ctypes"]
    return ctypes.addressof(value), ctypes.sizeof(value)


def reduce_part(value: Any, host: Any, offset: int) -> Reduced:
    """Reduce an object to a part of the host that has its memory."""
    return make_part, (type(value), host, offset), dict(vars(value)) or None, None, None, set_instance_state


def make_part(kind: Any, host: Any, offset: int) -> Any:
    """Make an object of ctypes on the memory of its host."""
    return kind.from_buffer(bytes_of(host), offset)
