"""Values: what comes out equals what went in and has the same types; no bytes do worse than a ValueError."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep_shared.values import ValueEncodingError, decode_value, encode_value

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=8)  # lone surrogates too
    | st.binary(max_size=8)
)
keys = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=25,
)


def same(one: object, other: object) -> bool:
    """Return whether two values are alike in type and content, all the way down; NaN is like NaN, 0.0 unlike -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    return one == other


@given(value=values)
def test_a_value_comes_back_equal_and_of_the_same_types(value):
    assert same(decode_value(encode_value(value)), value)


@given(number=st.integers(-(2**2000), 2**2000) | st.integers(0, 2000).flatmap(
    lambda bits: st.sampled_from([2**bits - 1, 2**bits, 2**bits + 1, -(2**bits) - 1, -(2**bits), -(2**bits) + 1])
))  # fmt: skip
def test_an_integer_of_any_size_comes_back(number):
    assert same(decode_value(encode_value(number)), number)


@given(key=keys, value=scalars)
def test_a_dict_key_may_be_whatever_a_value_may_be_that_is_hashable(key, value):
    assert same(decode_value(encode_value({key: value})), {key: value})


@given(value=values)
def test_the_same_value_has_the_same_bytes(value):
    assert encode_value(decode_value(encode_value(value))) == encode_value(value)


@given(
    value=values, foreign=st.sampled_from([object(), {1}, 1j, bytearray(b"a"), range(3), ValueError]), data=st.data()
)
def test_a_foreign_object_anywhere_inside_is_refused(value, foreign, data):
    wrappers = [lambda v: [value, v], lambda v: (v, value), lambda v: {"a": value, "b": v}]
    for wrap in data.draw(st.lists(st.sampled_from(wrappers), max_size=3)):
        foreign = wrap(foreign)

    with pytest.raises(ValueEncodingError, match="can't travel as data"):
        encode_value(foreign)


def decodes_or_refuses(packed: bytes) -> None:
    """Let nothing but ValueError through; what is taken for a value can be worked with."""
    try:
        value = decode_value(packed)
    except ValueError:
        return
    repr(value)


@given(packed=st.binary(max_size=200))
def test_bytes_are_a_value_or_a_value_error(packed):
    decodes_or_refuses(packed)


@given(value=values, data=st.data())
def test_damaged_bytes_are_a_value_or_a_value_error(value, data):
    packed = bytearray(encode_value(value))
    packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))

    decodes_or_refuses(bytes(packed))


@given(value=values, data=st.data())
def test_bytes_that_end_too_early_are_a_value_error(value, data):
    packed = encode_value(value)

    with pytest.raises(ValueError):  # noqa: PT011 - the text is msgpack's
        decode_value(packed[: data.draw(st.integers(0, len(packed) - 1))])
