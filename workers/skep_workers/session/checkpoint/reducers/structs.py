"""Classes of msgspec, as bytes and back: they are made by calling their metaclass with what msgspec documents of them.

The metaclass is made by C code, which lays instances out: `type.__new__` is refused. What it needs is read from
`__struct_fields__`, `__struct_defaults__`, `__struct_encode_fields__` and `__struct_config__`. msgspec itself is not
imported here; where there is such a class, there is msgspec.
"""

import importlib
import inspect
import sys
import types
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.classes import class_state, name_and_bases, set_class_state, silenced
from skep_workers.session.checkpoint.reducers.definitions import Reduced, class_attribute, class_names

_KEYWORDS: Final = (
    "tag",
    "tag_field",
    "frozen",
    "eq",
    "order",
    "array_like",
    "gc",
    "repr_omit_defaults",
    "omit_defaults",
    "forbid_unknown_fields",
    "weakref",
    "dict",
    "cache_hash",
)
_INITIALIZER: Final = "__post_init__"
# The metaclass looks up the initializer when the class is made, and never again.
_SKELETON: Final = ("__module__", "__doc__", "__orig_bases__", _INITIALIZER)
_FACTORY: Final = "factory"
_VALUE: Final = "value"


def is_struct(kind: type) -> bool:
    """Return whether it is a class of msgspec."""
    msgspec = sys.modules.get("msgspec")
    return msgspec is not None and issubclass(type(kind), type(msgspec.Struct))


def reduce_struct(kind: Any) -> Reduced:
    """Save a msgspec class: how to make it, and then what was set on it, its annotations included."""
    names = class_names(kind)
    skeleton: dict[str, Any] = {name: names[name] for name in _SKELETON if name in names}
    skeleton["__qualname__"] = type.__dict__["__qualname__"].__get__(kind)
    keywords = {name: getattr(kind.__struct_config__, name) for name in _KEYWORDS}
    arguments = (*name_and_bases(kind), skeleton, _fields(kind), keywords)
    return make_struct, arguments, _state(kind), None, None, set_class_state


def _state(kind: Any) -> tuple[dict[str, Any], list[type]]:
    attributes, registered = class_state(kind)
    return {name: value for name, value in attributes.items() if name not in _SKELETON}, registered


def _fields(kind: Any) -> list[tuple[str, str, bool, tuple[str, Any] | None]]:
    """Return the fields that the class itself defines: name, encoded name, whether by keyword only, default."""
    own = set(inspect.get_annotations(kind))
    fields, defaults = kind.__struct_fields__, kind.__struct_defaults__
    by_field = dict(zip(fields[len(fields) - len(defaults) :], defaults, strict=True))
    encoded = dict(zip(fields, kind.__struct_encode_fields__, strict=True))
    keyword_only = {name for name, each in inspect.signature(kind).parameters.items() if each.kind is each.KEYWORD_ONLY}
    return [
        (name, encoded[name], name in keyword_only, _default(by_field[name]) if name in by_field else None)
        for name in fields
        if name in own
    ]


def _default(value: Any) -> tuple[str, Any] | None:
    if value is sys.modules["msgspec"].NODEFAULT:
        return None
    is_factory = type(value).__module__.partition(".")[0] == "msgspec" and hasattr(value, "factory")
    return (_FACTORY, value.factory) if is_factory else (_VALUE, value)


def make_struct(
    name: str,
    bases: tuple[type, ...],
    skeleton: dict[str, Any],
    fields: list[tuple[str, str, bool, tuple[str, Any] | None]],
    keywords: dict[str, Any],
) -> type:
    """Make a msgspec class; msgspec looks at the annotations, which come as state, when it first needs them."""
    msgspec = importlib.import_module("msgspec")
    names = dict(skeleton)
    names["__annotations__"] = {field: Any for field, *_ in fields}
    for field, _, _, default in fields:
        if default is not None:
            kind, value = default
            names[field] = msgspec.field(default_factory=value) if kind == _FACTORY else msgspec.field(default=value)
    renamed = {field: encoded for field, encoded, *_ in fields if encoded != field}
    keywords = keywords | {"kw_only": any(is_keyword for _, _, is_keyword, _ in fields)}
    if renamed:
        keywords["rename"] = renamed
    with silenced(bases, own_only=True):
        return types.new_class(name, bases, keywords, lambda space: space.update(names))


def runs_code(kind: type) -> bool:
    """Return whether making an instance runs code of its class."""
    return class_attribute(kind, _INITIALIZER) is not None


def reduce_instance(value: Any) -> Reduced:
    """Save an instance; what its initializer does in a restore is put right by the saved fields."""
    kind = type(value)
    function, arguments, *_ = value.__reduce__()
    if not runs_code(kind):
        return function, arguments
    fields = {name: getattr(value, name) for name in kind.__struct_fields__}
    return function, arguments, fields, None, None, set_struct_fields


def set_struct_fields(value: Any, fields: dict[str, Any]) -> None:
    """Set the fields of an instance, of a frozen one, too."""
    msgspec = importlib.import_module("msgspec")
    for name, field in fields.items():
        msgspec.structs.force_setattr(value, name, field)
