"""Values that travel as data: the edges of what is taken, and bytes that nobody of ours made."""

import enum
import threading
from collections import OrderedDict, namedtuple

import msgpack
import pytest

from skep_shared.values import EXT_TUPLE, MAX_DEPTH, ValueEncodingError, decode_value, encode_value

Point = namedtuple("Point", "x y")  # noqa: PYI024 - a subclass of tuple is what is tested


class Number(enum.IntEnum):
    ONE = 1


class Text(str):
    __slots__ = ()


def nested(kind: type, levels: int):
    value = kind()
    for _ in range(levels - 1):
        value = kind([value]) if kind is not dict else {"k": value}
    return value


@pytest.mark.parametrize(
    "value",
    [
        Point(1, 2),
        Number.ONE,
        Text("a"),
        OrderedDict(a=1),
        {1},
        frozenset(),
        bytearray(b"a"),
        1j,
        object(),
        range(3),
        ...,
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [1, {"k": (v,)}]], ids=["alone", "inside"])
def test_a_type_that_would_come_back_as_another_is_refused_by_name(value, wrap):
    with pytest.raises(ValueEncodingError, match=type(value).__qualname__):
        encode_value(wrap(value))


def test_a_dict_key_that_would_come_back_as_another_type_is_refused():
    with pytest.raises(ValueEncodingError, match="Point"):
        encode_value({Point(1, 2): 1})


@pytest.mark.parametrize(
    "number",
    [2**63 - 1, -(2**63), 2**64 - 1, 2**64, -(2**63) - 1, 10**5000, -(10**5000), 0, -1],
    ids=lambda n: f"{n.bit_length()} bits",
)
def test_an_integer_has_no_bound(number):
    assert decode_value(encode_value([number])) == [number]


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_nesting_has_a_bound(kind):
    assert decode_value(encode_value(nested(kind, MAX_DEPTH))) == nested(kind, MAX_DEPTH)
    with pytest.raises(ValueEncodingError, match=str(MAX_DEPTH)):
        encode_value(nested(kind, MAX_DEPTH + 1))


@pytest.mark.parametrize("make", [list, dict], ids=["list", "dict"])
def test_a_cycle_is_refused(make):
    loop = make()
    loop.update(k=loop) if isinstance(loop, dict) else loop.append(loop)

    with pytest.raises(ValueEncodingError, match="cycle"):
        encode_value(loop)


def test_what_can_be_encoded_can_be_decoded_on_a_small_stack():
    """A thread's stack is 512 KiB on macOS, 128 KiB with musl; to run over it kills the process."""
    packed, decoded = encode_value(nested(tuple, MAX_DEPTH)), []
    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=lambda: decoded.append(decode_value(packed)))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)

    assert decoded == [nested(tuple, MAX_DEPTH)]


def hostile_tuples(levels: int) -> bytes:
    packed = b"\x90"
    for _ in range(levels):
        packed = msgpack.packb([msgpack.ExtType(EXT_TUPLE, packed)])
    return packed


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xc1",
        b"\x91",
        b"\x01\x01",
        b"\xa1\xff",
        b"\x81\x90\x01",
        b"\x81\x80\x01",
        b"\x91" * 2000 + b"\x90",
        msgpack.packb(msgpack.ExtType(EXT_TUPLE, b"\x05")),
        msgpack.packb(msgpack.ExtType(EXT_TUPLE, b"\xa2ab")),
        msgpack.packb(msgpack.ExtType(EXT_TUPLE, b"")),
        msgpack.packb({msgpack.ExtType(EXT_TUPLE, b"\x91\x90"): 1}),
        msgpack.packb(msgpack.ExtType(99, b"")),
        hostile_tuples(MAX_DEPTH + 1),
        hostile_tuples(5000),
    ],
    ids=lambda packed: repr(packed[:12]),
)
def test_bytes_that_are_no_value_are_a_value_error(packed):
    with pytest.raises(ValueError):  # noqa: PT011 - the text may be msgpack's
        decode_value(packed)
