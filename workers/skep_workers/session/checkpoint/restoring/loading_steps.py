"""The effects of single opcodes of a pickle stream on objects, and which of them may run code of users.

As in CPython's Lib/pickle.py; the C unpickler does the same.
"""

import sys
from types import FunctionType
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import class_attribute
from skep_workers.session.checkpoint.stored_names import QUIET

NO_VALUE: Final = object()  # instead of the value, for an item of a set
_STATE_HOOKS: Final = ("__setstate__", "__getattribute__", "__getattr__")


def find_global(module: str, name: str) -> Any:
    """Return the object under a dotted name in a module; imports the module."""
    __import__(module, level=0)
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part)
    return found


def apply(function: Any, arguments: Any) -> Any:
    """REDUCE."""
    return function(*arguments)


def make_new(kind: Any, arguments: Any, keywords: Any) -> Any:
    """NEWOBJ, NEWOBJ_EX."""
    return kind.__new__(kind, *arguments, **keywords)


def set_state(value: Any, state: Any) -> None:
    """BUILD."""
    hook = getattr(value, "__setstate__", None)
    if hook is not None:
        hook(state)
        return
    slots = None
    if type(state) is tuple and len(state) == 2:
        state, slots = state
    if state:
        attributes = value.__dict__
        for name, attribute in state.items():
            attributes[sys.intern(name) if type(name) is str else name] = attribute
    if slots:
        for name, attribute in slots.items():
            setattr(value, name, attribute)


def extend(container: Any, items: list[Any]) -> None:
    """APPEND, APPENDS."""
    method = getattr(container, "extend", None)
    if method is not None:
        method(items)
        return
    for item in items:
        container.append(item)


def add_item(container: Any, key: Any, value: Any) -> None:
    """SETITEM, SETITEMS, ADDITEMS, for one item."""
    if value is NO_VALUE:
        container.add(key)
    else:
        container[key] = value


def calls_quietly(function: Any) -> bool:
    """Return whether calling this function is known to run only our code and the interpreter's."""
    return type(function) is FunctionType and function in QUIET


def makes_quietly(kind: Any) -> bool:
    """Return whether making an empty instance of this class is known to run no code of users."""
    return isinstance(kind, type) and class_attribute(kind, "__new__") is object.__dict__["__new__"]


def builds_quietly(kind: type, state: Any) -> bool:
    """Return whether setting this state is known to run no code of users."""
    hooks = any(class_attribute(kind, hook) is not object.__dict__.get(hook) for hook in _STATE_HOOKS)
    return type(state) is dict and not hooks and type(class_attribute(kind, "__dict__")) is not property


def name_of(callee: Any) -> str:
    """Return the name of a callee, without running code of its class."""
    if isinstance(callee, type):
        name: str = type.__dict__["__qualname__"].__get__(callee)
        return name
    return callee.__qualname__ if type(callee) is FunctionType else type(callee).__qualname__
