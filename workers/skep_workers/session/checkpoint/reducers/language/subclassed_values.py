"""Instances of subclasses of built-in containers and values, as bytes and back.

Pickle makes a set, a `deque`, a `defaultdict` or a `tuple` by calling its class, and fills a list or a dict by its own
methods. A subclass may have another signature, or methods that record each call: its instance would be lost, or have
recorded its items twice. So the instance is made and filled here by the methods of the built-in type, after its
attributes are set. Pickle also forgets the attributes of a `defaultdict` and a `Counter`.

Checkpoints refer to the functions here that make them.
"""

from collections import Counter, OrderedDict, defaultdict, deque
from types import FunctionType
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import class_attribute, is_made_by_c
from skep_workers.session.checkpoint.reducers.language.instances import set_instance_state

_MAKING: Final = ("__new__", "__init__")
# What pickle calls to make and fill an instance. It calls no `__init__` of lists, dicts and values.
_CALLED: Final[dict[type, tuple[str, ...]]] = {
    OrderedDict: (*_MAKING, "__setitem__"),
    defaultdict: (*_MAKING, "__setitem__"),
    Counter: (*_MAKING, "__setitem__"),
    set: _MAKING,
    deque: (*_MAKING, "append", "extend"),
    list: ("__new__", "append", "extend"),
    dict: ("__new__", "__setitem__"),
    **dict.fromkeys((tuple, str, bytes, int, float, complex), ("__new__",)),
    frozenset: ("__new__",),
}
BASES: Final = tuple(_CALLED)  # a Counter is a dict, too: the first one counts
_VALUES: Final = (frozenset, tuple, str, bytes, int, float, complex)
_FORGETFUL: Final = (defaultdict, Counter)
_HOOKS: Final = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__")
_ITSELF: Final = "itself"  # the state of `self.__dict__ = self`
_mro_of: Final = type.__dict__["__mro__"].__get__
_read_attributes: Final[Any] = object.__getstate__
_factory_of: Final[Any] = vars(defaultdict)["default_factory"].__get__
_length_limit_of: Final[Any] = vars(deque)["maxlen"].__get__


def reduce_subclassed(value: Any, kind: type) -> Any:
    """Reduce an instance of a subclass of one of BASES; NotImplemented if pickle does it as well."""
    base: Any = next(base for base in BASES if issubclass(kind, base))
    if kind is base or any(class_attribute(kind, hook) is not class_attribute(base, hook) for hook in _HOOKS):
        return NotImplemented
    is_itself = base is dict and getattr(value, "__dict__", None) is value
    if not is_itself and base not in _FORGETFUL and not _overrides(kind, base):
        return NotImplemented
    if any(is_made_by_c(each) for each in _mro_of(kind) if each not in BASES and each is not object):
        return NotImplemented  # its memory has another layout
    attributes = _read_attributes(value)
    if base in _VALUES:
        arguments = ([*frozenset.__iter__(value)],) if base is frozenset else base.__getnewargs__(value)
        return make_subclassed, (kind, base, arguments), attributes, None, None, set_instance_state
    state = base, _ITSELF if is_itself else attributes, [*_items(base)(value)], _extra(base, value)
    return make_subclassed, (kind, base, ()), state, None, None, set_subclassed_state


def make_subclassed(kind: Any, base: Any, arguments: tuple[Any, ...]) -> Any:
    """Make an instance of a subclass by the built-in type's own method."""
    return base.__new__(kind, *arguments)


def set_subclassed_state(value: Any, state: tuple[Any, Any, list[Any], Any]) -> None:
    """Set the attributes and items of a container by the built-in type's own methods."""
    base, attributes, items, extra = state
    if attributes == _ITSELF:
        value.__dict__ = value
    elif attributes is not None:
        set_instance_state(value, attributes)
    if base is defaultdict:
        defaultdict.__init__(value, extra)
    elif base is deque:
        deque.__init__(value, (), extra)
    if issubclass(base, dict):
        for key, item in items:
            base.__setitem__(value, key, item)
    else:
        (set.update if base is set else base.extend)(value, items)


def _overrides(kind: type, base: type) -> bool:
    """Return whether Python code has replaced what pickle would call."""
    found = ((class_attribute(kind, name), class_attribute(base, name)) for name in _CALLED[base])
    return any(own is not its and type(own) in {FunctionType, staticmethod} for own, its in found)


def _items(base: Any) -> Any:
    return base.items if issubclass(base, dict) else base.__iter__


def _extra(base: type, value: Any) -> Any:
    """Return the factory of a defaultdict, and the length limit of a deque."""
    if base is defaultdict:
        return _factory_of(value)
    return _length_limit_of(value) if base is deque else None
