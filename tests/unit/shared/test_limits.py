"""What comes from outside is refused with the field, the value and the limit, before anything is written."""

import enum
import math
from types import MappingProxyType

import pytest

from skep_shared.errors import InvalidArgument
from skep_shared.limits import (
    MAX_CODE_BYTES,
    MAX_INPUTS_BYTES,
    MAX_LABELS,
    check_cell_id,
    check_checkpoint_name,
    check_code,
    check_inputs,
    check_labels,
    check_number,
    check_prefix,
    check_session_id,
)
from skep_shared.values import MAX_DEPTH, decode_value, encode_value

LONGEST = "x" * 200
ID_CHECKS = {"session_id": check_session_id, "cell_id": check_cell_id, "prefix": check_prefix}
UNPRINTABLE = [
    "a\0b",
    "a\nb",
    "a\n",
    "a\tb",
    "a\x1b[31m",
    "a\x7f",
    "a\u2028b",
    "a\xa0b",
    "a\u200bb",
    "a\ud800b",
    "\udfff",
]


def refused(check, value, *args, **options) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        check(value, *args, **options)
    return caught.value


@pytest.mark.parametrize("field", ID_CHECKS)
@pytest.mark.parametrize("text", ["a", "A-1_.x", LONGEST])
def test_a_plain_id_is_given_back(field, text):
    assert ID_CHECKS[field](text) == text


@pytest.mark.parametrize("field", ID_CHECKS)
@pytest.mark.parametrize("value", [None, 1, b"a", ["a"]], ids=repr)
def test_an_id_of_another_type_is_refused(field, value):
    error = refused(ID_CHECKS[field], value)

    assert (error.field, error.value) == (field, value)
    assert type(value).__name__ in error.limit


@pytest.mark.parametrize("field", ID_CHECKS)
@pytest.mark.parametrize("value", ["", LONGEST + "x", "é" * 101, "🐝" * 51], ids=["empty", "201", "202", "204"])
def test_an_id_is_1_to_200_bytes_long(field, value):
    error = refused(ID_CHECKS[field], value)

    assert (error.field, error.value) == (field, value)
    assert "200 bytes" in error.limit
    assert str(len(value.encode())) in error.limit


@pytest.mark.parametrize("field", ID_CHECKS)
@pytest.mark.parametrize("value", UNPRINTABLE, ids=ascii)
def test_an_unprintable_id_is_refused(field, value):
    error = refused(ID_CHECKS[field], value)

    assert (error.field, error.value) == (field, value)
    assert "unprintable" in error.limit


@pytest.mark.parametrize(
    "value",
    ["{}", "{a}", "../", "..", ".", "a/b", "a:b", ":", "a b", " ", "*", "?", "[", "-a", "~", "@", "é", "日本", "🐝"],
)
def test_a_session_id_outside_its_alphabet_is_refused(value):
    error = refused(check_session_id, value)

    assert (error.field, error.value) == ("session_id", value)
    assert "letters" in error.limit


@pytest.mark.parametrize("value", ["user-42", "a@b.example", "_x", "0", "a.b=c+d~e", "a.."])
def test_a_session_id_inside_its_alphabet_is_given_back(value):
    assert check_session_id(value) == value


@pytest.mark.parametrize("value", ["{}", "../", "a:b", "a b", "é", "日本", "🐝", "é" * 100])
def test_a_cell_id_may_be_any_printable_text(value):
    assert check_cell_id(value) == value


@pytest.mark.parametrize("value", ["{", "}", "{}", "{a", "a}", "{a}b", "{{a}}", "a:b", "a/b", "a*", "é", "a b"])
def test_a_prefix_outside_its_alphabet_is_refused(value):
    error = refused(check_prefix, value)

    assert (error.field, error.value) == ("prefix", value)


@pytest.mark.parametrize("value", ["skep", "skep.eu-1_a", "{skep7}"])
def test_a_prefix_may_be_in_braces(value):
    assert check_prefix(value) == value


@pytest.mark.parametrize("code", ["", "1", "é\n\t\0", "x" * MAX_CODE_BYTES])
def test_code_up_to_the_limit_is_given_back(code):
    assert check_code(code) == code


@pytest.mark.parametrize("code", ["x" * (MAX_CODE_BYTES + 1), "é" * (MAX_CODE_BYTES // 2 + 1)], ids=["ascii", "utf-8"])
def test_code_over_1_mib_is_refused(code):
    error = refused(check_code, code)

    assert (error.field, error.value) == ("code", code)
    assert f"{MAX_CODE_BYTES} bytes, this has {len(code.encode())}" in error.limit
    assert len(str(error)) < 300


@pytest.mark.parametrize("code", [b"1", None, 1], ids=repr)
def test_code_that_is_no_text_is_refused(code):
    assert refused(check_code, code).field == "code"


def test_code_that_is_no_valid_unicode_is_refused_with_the_place():
    assert "at 4" in refused(check_code, "x = \ud800").limit


@pytest.mark.parametrize("inputs", [None, {}])
def test_no_inputs_are_none(inputs):
    assert check_inputs(inputs) is None


@pytest.mark.parametrize("inputs", [{"a": 1, "b": [None, (2.5, b"x")], "é": {"k": 10**40}}, MappingProxyType({"a": 1})])
def test_inputs_are_encoded_as_they_are(inputs):
    assert decode_value(check_inputs(inputs)) == dict(inputs)


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, Colour.RED, 1j, [1, [{"k": object()}]], {"k": range(3)}], ids=lambda v: type(v).__name__
)
def test_an_input_that_can_not_travel_is_named(value):
    error = refused(check_inputs, {"good": 1, "bad": value})

    assert (error.field, error.value) == ("inputs['bad']", value)
    assert "can't travel" in error.limit


def test_an_input_that_holds_itself_is_named():
    loop = []
    loop.append(loop)

    assert refused(check_inputs, {"loop": loop}).field == "inputs['loop']"


def test_an_input_that_is_nested_too_deep_by_one_level_is_named():
    """Alone it could just travel; bound to its name it is one level too deep."""
    value = []
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    encode_value(value)

    assert refused(check_inputs, {"deep": value}).field == "inputs['deep']"


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "a.b", 1, None, "a\0", "\ud800"], ids=ascii)
def test_an_input_name_that_is_no_identifier_is_refused(name):
    error = refused(check_inputs, {name: 1})

    assert (error.field, error.value) == ("inputs", name)


@pytest.mark.parametrize("inputs", [[("a", 1)], "a", 1], ids=repr)
def test_inputs_that_are_no_mapping_are_refused(inputs):
    assert refused(check_inputs, inputs).field == "inputs"


def test_inputs_over_1_mib_are_refused():
    inputs = {"a": b"x" * (MAX_INPUTS_BYTES // 2), "b": b"x" * (MAX_INPUTS_BYTES // 2)}

    error = refused(check_inputs, inputs)

    assert error.field == "inputs"
    assert str(MAX_INPUTS_BYTES) in error.limit


@pytest.mark.parametrize(
    "labels", [None, {}, {"a": "b"}, {"é" * 100: "x" * 200}, {str(n): "" for n in range(MAX_LABELS)}]
)
def test_labels_are_given_back(labels):
    assert check_labels(labels) == (labels or {})


@pytest.mark.parametrize("bad", [1, None, b"x", "x" * 201, "é" * 101, "a\ud800"], ids=lambda bad: ascii(bad)[:12])
@pytest.mark.parametrize("side", ["name", "text"])
def test_a_label_that_is_no_short_text_is_refused(side, bad):
    error = refused(check_labels, {"good": "good", **({bad: "x"} if side == "name" else {"x": bad})})

    assert (error.field, error.value) == ("labels", bad)
    assert "200 bytes" in error.limit


def test_too_many_labels_are_refused():
    assert str(MAX_LABELS) in refused(check_labels, {str(n): "" for n in range(MAX_LABELS + 1)}).limit


@pytest.mark.parametrize("labels", [[("a", "b")], "ab", 1], ids=repr)
def test_labels_that_are_no_mapping_are_refused(labels):
    assert refused(check_labels, labels).field == "labels"


@pytest.mark.parametrize("number", [1, 1.5, 2])
def test_a_number_within_its_bounds_is_given_back(number):
    assert check_number("timeout", number, low=1, high=2) == number


@pytest.mark.parametrize(
    "number", [0, 0.999, 2.001, -1, math.nan, math.inf, -math.inf, True, "1", None, 10**400], ids=str
)
def test_a_number_outside_its_bounds_is_refused(number):
    with pytest.raises(InvalidArgument) as caught:
        check_number("timeout", number, low=1, high=2)

    assert (caught.value.field, caught.value.limit) == ("timeout", "a number from 1 to 2 is needed")
    assert caught.value.value is number


@pytest.mark.parametrize("name", ["7-0", "007-12"])
def test_a_checkpoint_name_that_reads_like_an_id_is_refused(name):
    with pytest.raises(InvalidArgument):
        check_checkpoint_name(name)


@pytest.mark.parametrize("name", ["7", "before training", "-0", "1-0-1", "é" * 100])
def test_a_checkpoint_name_may_be_any_other_printable_text(name):
    assert check_checkpoint_name(name) == name
