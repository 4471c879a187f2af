"""Properties, class methods and static methods, including their subclasses, as bytes and back.

Pickle would make them again without their functions.
"""

from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced

DESCRIPTORS: Final = (property, classmethod, staticmethod)


def reduce_descriptor(value: Any) -> Reduced:
    """Reduce an instance of one of DESCRIPTORS, or of a subclass of one."""
    kind = type(value)
    base = next(base for base in DESCRIPTORS if issubclass(kind, base))
    parts = ("fget", "fset", "fdel", "__doc__") if base is property else ("__func__",)
    arguments = [getattr(value, name) for name in parts]
    state = dict(getattr(value, "__dict__", {})) or None
    return make_descriptor, (base, kind, *arguments), state, None, None, set_descriptor_state


def make_descriptor(base: Any, kind: Any, *arguments: Any) -> Any:
    """Make a descriptor as its built-in base does, without calling an `__init__` that a cell has defined."""
    made = base.__new__(kind)
    base.__init__(made, *arguments)
    return made


def set_descriptor_state(value: Any, attributes: dict[str, Any]) -> None:
    """Set the attributes that were added to a descriptor."""
    for name, attribute in attributes.items():
        object.__setattr__(value, name, attribute)


def reduce_slot(value: GetSetDescriptorType | MemberDescriptorType) -> Reduced:
    """Reduce the descriptor of a slot or C-level attribute to its name in the class."""
    return getattr, (value.__objclass__, value.__name__)
