"""Instances whose class answers for missing attributes, as bytes and back.

Pickle asks an empty instance for `__setstate__`, and such a class's `__getattr__` may ask the instance again for what
isn't there yet, without end. So the state is set past the class. Checkpoints name the function here that does.
"""

import copyreg
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced, class_attribute

PROTOCOL: Final = 5


def answers_for_attributes(kind: type) -> bool:
    """Return whether the class has a `__getattr__`, and no `__setstate__` that pickle would find before."""
    return (
        class_attribute(kind, "__getattr__") is not None
        and class_attribute(kind, "__setstate__") is None
        and class_attribute(kind, "__reduce_ex__") is object.__reduce_ex__
        and class_attribute(kind, "__reduce__") is object.__reduce__
        and kind not in copyreg.dispatch_table
    )


def reduce_instance(value: Any) -> Reduced:
    """Save an instance as pickle does, but for how its state is set."""
    reduced = value.__reduce_ex__(PROTOCOL)
    if isinstance(reduced, str) or len(reduced) < 3 or reduced[2] is None:
        return reduced  # type: ignore[no-any-return]
    function, arguments, state, *items = reduced
    return function, arguments, state, *(*items, None, None)[:2], set_instance_state


def set_instance_state(value: Any, state: Any) -> None:
    """Set attributes and slots without a call of the class's code."""
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if attributes:
        object.__getattribute__(value, "__dict__").update(attributes)
    for name, slot in (slots or {}).items():
        object.__setattr__(value, name, slot)
