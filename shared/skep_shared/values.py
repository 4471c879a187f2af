"""Python values that travel as data: None, bool, int, float, str, bytes, list, tuple and dict, nested.

They are encoded with msgpack and two extension types, so that a decoded value equals the original: tuples remain
tuples, and integers are unbounded. Only these exact types are accepted, because a subclass (an Enum, a NamedTuple)
would be decoded as a different type. NumPy scalars travel as the Python number, text or bytes that equals them; a
scalar that equals none of these (a longdouble, a complex, a datetime64) can't travel.

Source of the format: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

import sys
from typing import Any, NamedTuple

import msgpack

EXT_TUPLE = 1  # payload: the packed list of its items
EXT_BIG_INT = 2  # payload: the integer, signed, big-endian
MAX_DEPTH = 100


class ValueEncodingError(ValueError):
    """The value, or a value inside it, can't travel as data.

    is_limit: the types are supported, but the value is nested too deeply.
    """

    def __init__(self, message: str, *, is_limit: bool = False) -> None:
        super().__init__(message)
        self.is_limit = is_limit


def encode_value(value: object) -> bytes:
    """Return the value's bytes.

    Raises ValueEncodingError for any other type, a cycle, or nesting deeper than MAX_DEPTH.
    """
    try:
        packed = _packb(_prepared(value, 0))
    except (ValueError, OverflowError) as exc:
        if isinstance(exc, ValueEncodingError):
            raise
        raise ValueEncodingError(str(exc)) from exc
    return packed


def decode_value(packed: bytes) -> Any:
    """Return the value for bytes that `encode_value` returned. Raises ValueError for any other bytes."""
    try:
        return _unpacked(packed, 0)
    except (TypeError, RecursionError) as exc:  # an unhashable key, or lists nested a thousand levels deep
        raise ValueError(f"not an encoded value: {exc}") from exc


_PLAIN = frozenset({type(None), bool, float, str, bytes})
_INT64_LOW, _UINT64_HIGH = -(2**63), 2**64 - 1


def _prepared(value: Any, depth: int) -> object:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is int:
        if _INT64_LOW <= value <= _UINT64_HIGH:
            return value
        size = value.bit_length() // 8 + 1
        return msgpack.ExtType(EXT_BIG_INT, value.to_bytes(size, "big", signed=True))
    if depth >= MAX_DEPTH:
        raise ValueEncodingError(f"nested deeper than {MAX_DEPTH} levels, or in a cycle", is_limit=True)
    if kind is list:
        return [_prepared(item, depth + 1) for item in value]
    if kind is tuple:
        return msgpack.ExtType(EXT_TUPLE, _packb([_prepared(item, depth + 1) for item in value]))
    if kind is dict:
        return {_prepared(key, depth + 1): _prepared(item, depth + 1) for key, item in value.items()}
    plain = _plain_scalar(value)
    if plain is not value:
        return _prepared(plain, depth)
    raise ValueEncodingError(
        f"{type(value).__module__}.{type(value).__qualname__} can't travel as data; "
        "None, bool, int, float, str, bytes, list, tuple and dict can"
    )


def _plain_scalar(value: Any) -> Any:
    """Return the value of a plain type that equals a NumPy scalar; return any other value unchanged."""
    kind = type(value)
    if kind.__module__ != "numpy" or (numpy := sys.modules.get("numpy")) is None:
        return value
    try:
        kinds = (numpy.bool_, numpy.integer, numpy.floating, numpy.str_, numpy.bytes_)
        # A timedelta64 counts as an integer, but its number is meaningless without the unit.
        if not issubclass(kind, kinds) or issubclass(kind, numpy.timedelta64):
            return value
        plain = value.item()
    except (AttributeError, TypeError):  # a user's module that has the same name
        return value
    return plain if type(plain) in _PLAIN or type(plain) is int else value


def _packb(prepared: object) -> bytes:
    packed: bytes = msgpack.packb(prepared, unicode_errors="surrogatepass", strict_types=True)
    return packed


class _PackedTuple(NamedTuple):
    """A placeholder for a tuple until msgpack has returned.

    A call of msgpack's decoder takes 40 KiB of the C stack. If the items were decoded in its hook, some 200 nested
    tuples would crash the process.
    """

    payload: bytes


def _unpacked(packed: bytes, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    has_tuples = False

    def hook(code: int, payload: bytes) -> object:
        nonlocal has_tuples
        if code == EXT_TUPLE:
            has_tuples = True
            return _PackedTuple(payload)
        if code == EXT_BIG_INT:
            return int.from_bytes(payload, "big", signed=True)
        raise ValueError(f"unknown extension type {code} in a value")

    value = msgpack.unpackb(packed, ext_hook=hook, strict_map_key=False, unicode_errors="surrogatepass")
    return _with_tuples(value, depth) if has_tuples else value


def _with_tuples(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is _PackedTuple:
        items = _unpacked(value.payload, depth + 1)
        if type(items) is not list:
            raise ValueError("the payload of a tuple is not a list")
        return tuple(items)
    if kind is list:
        return [_with_tuples(item, depth) for item in value]
    if kind is dict:
        return {_with_tuples(key, depth): _with_tuples(item, depth) for key, item in value.items()}
    return value
