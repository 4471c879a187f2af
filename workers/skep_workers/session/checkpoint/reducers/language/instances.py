"""Instances whose classes define how attributes are read, as bytes and back.

Checkpoints refer to the functions here that make them. Pickle reads the `__class__` of an instance when it saves it,
and `__setstate__` when it has made it again. It refuses an instance with another `__class__` than its type (a proxy, a
mock with a specification). An instance whose `__getattr__` needs attributes that aren't set yet recurses forever.
"""

import copyreg
from types import WrapperDescriptorType
from typing import Any

from skep_workers.session.checkpoint.reducers.definitions import class_attribute, is_definition

_LOOKUPS = ("__getattr__", "__getattribute__", "__class__")


def answers_itself(kind: type) -> bool:
    """Return whether a class defines how attributes are read, but not how the state is set."""
    if class_attribute(kind, "__setstate__") is not None:
        return False
    found = [(name, class_attribute(kind, name)) for name in _LOOKUPS]
    return any(
        value is not object.__dict__.get(name) and type(value) is not WrapperDescriptorType for name, value in found
    )


def reduce_instance(value: Any, protocol: int) -> Any:
    """Reduce an instance as pickle does, by its real class. Raises what its own methods raise."""
    reduced = object.__reduce_ex__(value, protocol)
    if not isinstance(reduced, tuple):
        return NotImplemented
    make, arguments, state, *items = (*reduced, None, None, None)[:5]
    if make is copyreg.__newobj__:  # type: ignore[attr-defined]
        kind, *positional = arguments
        named: dict[str, Any] = {}
    elif make is copyreg.__newobj_ex__:  # type: ignore[attr-defined]
        kind, positional, named = arguments
    else:
        return NotImplemented
    return make_instance, (kind, tuple(positional), named), state, *items, set_instance_state


def make_instance(kind: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Make an instance; without arguments a `__new__` that a cell has defined is not called."""
    if arguments or named:
        return kind.__new__(kind, *arguments, **named)
    base: Any = next(base for base in type.__dict__["__mro__"].__get__(kind) if not is_definition(base))
    return base.__new__(kind)


def set_instance_state(value: Any, state: Any) -> None:
    """Set the attributes of an instance without reading any. Raises TypeError for a state that isn't attributes."""
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if not isinstance(attributes, dict | None) or not isinstance(slots, dict | None):
        raise TypeError(f"a dict of attributes was expected, not {type(state).__name__}")
    if attributes:
        object.__getattribute__(value, "__dict__").update(attributes)
    for name, attribute in (slots or {}).items():
        object.__setattr__(value, name, attribute)
