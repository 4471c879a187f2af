"""Subclasses of weak references and weak containers, and finalizers, as bytes and back.

Checkpoints refer to the functions here that make them.
"""

import weakref
from types import BuiltinFunctionType
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced, is_definition, registry
from skep_workers.session.checkpoint.reducers.language.instances import set_instance_state

CONTAINERS: Final = (weakref.WeakValueDictionary, weakref.WeakKeyDictionary, weakref.WeakSet)


class _DeadTarget:
    """The target of dead references."""


def reduce_reference(reference: Any) -> Reduced:
    """Reduce an instance of a subclass of `weakref.ref`, dead or alive, with its attributes."""
    arguments = (type(reference), reference(), reference.__callback__)
    return make_reference, arguments, object.__getstate__(reference), None, None, set_instance_state


def make_reference(kind: Any, target: Any, callback: Any) -> Any:
    """Make a weak reference as its built-in base does; a dead one if there is no target."""
    return weakref.ref.__new__(kind, _DeadTarget() if target is None else target, callback)


def reduce_container(container: Any) -> Reduced:
    """Reduce an instance of a subclass of a weak container, with its live items and its attributes."""
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
    """Set a weak container's attributes and items."""
    attributes, items = state
    vars(container).update(attributes)
    base: Any = next(base for base in CONTAINERS if isinstance(container, base))
    base.update(container, items)


def reduce_finalizer(finalizer: Any) -> Reduced:
    """Reduce a `weakref.finalize`, with its call if it is alive."""
    call = finalizer.peek()
    return make_finalizer, (type(finalizer), None) if call is None else (type(finalizer), (*call, finalizer.atexit))


def make_finalizer(kind: Any, call: tuple[Any, Any, Any, Any, bool] | None) -> Any:
    """Make a finalizer: a dead one if it was dead, or if this is a fork and it would end a resource of its origin."""
    if call is None or (registry.is_fork and ends_what_is_outside(call[1])):
        dead = kind(_DeadTarget(), _DeadTarget)
        dead.detach()
        return dead
    value, function, arguments, keywords, at_exit = call
    made = kind(value, function, *arguments, **(keywords or {}))
    made.atexit = at_exit
    return made


def ends_what_is_outside(function: Any) -> bool:
    """Return whether a finalizer's function is a library's: it may, for example, remove a directory."""
    return not is_definition(function) and type(function) is not BuiltinFunctionType
