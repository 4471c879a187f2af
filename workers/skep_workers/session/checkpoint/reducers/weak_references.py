"""Subclasses of weak references and weak containers, and finalizers, as bytes and back.

Checkpoints name the functions here that make them.
"""

import weakref
from types import BuiltinFunctionType
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced, is_definition, registry
from skep_workers.session.checkpoint.reducers.instances import set_instance_state

CONTAINERS: Final = (weakref.WeakValueDictionary, weakref.WeakKeyDictionary, weakref.WeakSet)


class _Gone:
    """What a dead reference referred to."""


def reduce_reference(reference: Any) -> Reduced:
    """Save an instance of a subclass of `weakref.ref`, dead or alive, with its attributes."""
    arguments = (type(reference), reference(), reference.__callback__)
    return make_reference, arguments, object.__getstate__(reference), None, None, set_instance_state


def make_reference(kind: Any, target: Any, callback: Any) -> Any:
    """Make a weak reference as its built-in base does; to nothing if the target was gone."""
    return weakref.ref.__new__(kind, _Gone() if target is None else target, callback)


def reduce_container(container: Any) -> Reduced:
    """Save an instance of a subclass of a weak container, with what lives of it and with its attributes."""
    base: Any = next(base for base in CONTAINERS if isinstance(container, base))
    own = vars(base())
    attributes = {name: value for name, value in vars(container).items() if name not in own}
    items: Any = list(container) if base is weakref.WeakSet else dict(base.items(container))
    return make_container, (base, type(container)), (attributes, items), None, None, fill_container


def make_container(base: Any, kind: Any) -> Any:
    """Make an empty weak container as its library's class does."""
    made = base.__new__(kind)
    base.__init__(made)
    return made


def fill_container(container: Any, state: tuple[dict[str, Any], Any]) -> None:
    """Give a weak container its attributes and what lives of it."""
    attributes, items = state
    vars(container).update(attributes)
    base: Any = next(base for base in CONTAINERS if isinstance(container, base))
    base.update(container, items)


def reduce_finalizer(finalizer: Any) -> Reduced:
    """Save a `weakref.finalize` with what it will call, if it is alive."""
    call = finalizer.peek()
    return make_finalizer, (type(finalizer), None) if call is None else (type(finalizer), (*call, finalizer.atexit))


def make_finalizer(kind: Any, call: tuple[Any, Any, Any, Any, bool] | None) -> Any:
    """Make a finalizer: a dead one if it was, or if what it ends is another session's, whose fork this is."""
    if call is None or (registry.is_fork and ends_what_is_outside(call[1])):
        dead = kind(_Gone(), _Gone)
        dead.detach()
        return dead
    value, function, arguments, keywords, at_exit = call
    made = kind(value, function, *arguments, **(keywords or {}))
    made.atexit = at_exit
    return made


def ends_what_is_outside(function: Any) -> bool:
    """Return whether a finalizer's function is a library's: it removes a directory, say, that there is once only."""
    return not is_definition(function) and type(function) is not BuiltinFunctionType
