"""Classes of msgspec, as bytes and back: a restore calls their metaclass with the documented attributes.

The metaclass is C code, which computes the layout of instances, so `type.__new__` is refused. Its arguments are read
from `__struct_fields__`, `__struct_defaults__`, `__struct_encode_fields__` and `__struct_config__`. msgspec is not
imported here; a session that has such a class has imported it.
"""

import importlib
import inspect
import sys
import threading
import types
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced, Reducer, class_names
from skep_workers.session.checkpoint.reducers.language.classes import (
    class_state,
    name_and_bases,
    set_class_state,
    silenced,
)

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
_SKELETON: Final = ("__module__", "__doc__", "__orig_bases__")
_FACTORY: Final = "factory"
_VALUE: Final = "value"


def is_struct(kind: type) -> bool:
    """Return whether a class is one of msgspec."""
    msgspec = sys.modules.get("msgspec")
    return msgspec is not None and issubclass(type(kind), type(msgspec.Struct))


def reduce_struct(kind: Any) -> Reduced:
    """Reduce a msgspec class to the arguments that make it, its attributes and its annotations."""
    names = class_names(kind)
    skeleton: dict[str, Any] = {name: names[name] for name in _SKELETON if name in names}
    skeleton["__qualname__"] = type.__dict__["__qualname__"].__get__(kind)
    config = kind.__struct_config__  # it has fewer fields in older versions
    keywords = {name: getattr(config, name) for name in _KEYWORDS if hasattr(config, name)}
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
    """Make a msgspec class. Its annotations are set as state; msgspec reads them when it first needs them."""
    msgspec = importlib.import_module("msgspec")
    names: dict[str, Any] = dict(skeleton)
    names["__annotations__"] = {field: Any for field, *_ in fields}
    for field, _, _, default in fields:
        if default is not None:
            kind, value = default
            names[field] = msgspec.field(default_factory=value) if kind == _FACTORY else msgspec.field(default=value)
    renamed = {field: encoded for field, encoded, *_ in fields if encoded != field}
    keywords = keywords | {"kw_only": any(is_keyword for _, _, is_keyword, _ in fields)}
    if renamed:
        keywords["rename"] = renamed
    names[_INITIALIZER] = _initialize  # the metaclass looks it up now, and only once
    with silenced(bases, own_only=True):
        made = types.new_class(name, bases, keywords, lambda space: space.update(names))
    type.__delattr__(made, _INITIALIZER)  # the class's own is set as state
    return made


_restoring: Final = threading.local()


def _initialize(value: Any) -> None:
    """Run the initializer of a new instance, but not of one that is restored."""
    initialize = getattr(value, _INITIALIZER, None)
    if initialize is not None and not getattr(_restoring, "is_on", False):
        initialize()


# --- instances ----------------------------------------------------------------------------------------------------


def reduce_instance(value: Any) -> Reduced:
    """Reduce an instance: an empty one is made first, so that the values of its fields may refer to it."""
    fields = {name: getattr(value, name) for name in type(value).__struct_fields__}
    return make_instance, (type(value),), (fields, getattr(value, "__dict__", None)), None, None, set_struct_fields


def make_instance(kind: Any) -> Any:
    """Make an instance without calling its initializer."""
    _restoring.is_on = True
    try:
        # With a list in each field, the garbage collector tracks it from the start.
        return kind(**{name: [] for name in kind.__struct_fields__})
    finally:
        _restoring.is_on = False


def set_struct_fields(value: Any, state: tuple[dict[str, Any], dict[str, Any] | None]) -> None:
    """Set the fields of an instance, even of a frozen one, and its other attributes."""
    fields, attributes = state
    msgspec = importlib.import_module("msgspec")
    for name, field in fields.items():
        msgspec.structs.force_setattr(value, name, field)
    if attributes:
        vars(value).update(attributes)


# --- encoders and decoders ------------------------------------------------------------------------------------------

_PARTS: Final = {
    "Decoder": ("type", "strict", "dec_hook", "float_hook", "ext_hook"),
    "Encoder": ("enc_hook", "decimal_format", "uuid_format", "order"),
}


def reducer_of(kind: type) -> Reducer | None:
    """Return the reducer for instances of this class, None if pickle does."""
    msgspec = sys.modules.get("msgspec")
    if msgspec is None:
        return None
    modules = (msgspec.json, msgspec.msgpack)
    kinds = {getattr(module, name): name for module in modules for name in _PARTS}
    return None if kind not in kinds else _reduce_codec


def _reduce_codec(value: Any) -> Reduced:
    kind = type(value)
    parts = {name: getattr(value, name) for name in _PARTS[kind.__name__] if hasattr(value, name)}
    return make_codec, (kind, parts)


def make_codec(kind: Any, parts: dict[str, Any]) -> Any:
    """Make an encoder or a decoder."""
    return kind(**parts)
