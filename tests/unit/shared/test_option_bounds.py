"""Everything of arbitrary size that clients pass on with a session or a cell has a bound.

The test finds the fields itself, by their types, so a field that is added later is tested too.
"""

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from pydantic import BaseModel

from skep.cell_request import CellRequest, read_request
from skep.session_update import checked_changes
from skep_shared.broker.submission import pack_options
from skep_shared.errors import InvalidArgument
from skep_shared.models import CHANGEABLE, SessionOptions
from skep_shared.settings import Settings

LONG: Final = "x" * (2 * 1024 * 1024)
MANY: Final = [f"x{number}" for number in range(200_000)]
SURROGATE: Final = "x\ud800"  # can't be stored


def bad_values(kind: Any) -> Iterator[tuple[str, Any]]:
    """Yield values of a type that are too large, or can't be stored, each with what it is; none for a plain number."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        yield from bad_values(arguments[0])
    elif origin is typing.Union or origin is types.UnionType:
        for each in arguments:
            yield from bad_values(each)
    elif kind is str:
        yield from (("long", LONG), ("surrogate", SURROGATE))
    elif origin in {list, tuple}:
        yield "many", origin(MANY)
        yield from ((f"[{what}]", origin([value])) for what, value in bad_values(arguments[0]))
    elif origin in {dict, Mapping}:
        yield "many", dict.fromkeys(MANY, "x")
        yield from ((f"name {what}", {value: "x"}) for what, value in bad_values(arguments[0]))
        values = (("long", LONG),) if arguments[1] is object else bad_values(arguments[1])
        yield from ((f"value {what}", {"x": value}) for what, value in values)
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            yield from ((f"{name} {what}", {name: value}) for what, value in bad_values(field.annotation))
    else:
        assert kind in {int, float, bool, bytes, type(None)} or origin is typing.Literal, kind


OF_SESSION: Final = [
    pytest.param(name, value, id=f"{name}-{what}")
    for name, field in SessionOptions.model_fields.items()
    for what, value in bad_values(field.annotation)
]
OF_CELL: Final = [
    pytest.param(name, value, id=f"{name}-{what}")
    for name, kind in typing.get_type_hints(CellRequest).items()
    for what, value in bad_values(kind)
]


def test_the_fields_of_any_size_are_found():
    found = {each.values[0] for each in OF_SESSION}

    assert found >= {"labels", "env", "cwd", "requires", "detection", "sandbox", "allowed_hosts", "packages"}
    assert {each.values[0] for each in OF_CELL} == {"code", "cell_id", "on_worker_loss", "inputs", "labels"}


@pytest.mark.parametrize(("name", "value"), OF_SESSION)
def test_an_option_of_a_session_has_a_bound(name, value):
    with pytest.raises(InvalidArgument) as raised:
        pack_options(SessionOptions(**{name: value}), Settings())

    assert raised.value.field.startswith(name)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(("name", "value"), OF_CELL)
def test_an_option_of_a_cell_has_a_bound(name, value):
    with pytest.raises(InvalidArgument) as raised:
        read_request({"code": "1"} | {name: value})

    assert raised.value.field.startswith(name)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(("name", "value"), [each for each in OF_SESSION if each.values[0] in CHANGEABLE])
def test_an_option_that_is_changed_has_a_bound(name, value):
    with pytest.raises(InvalidArgument):
        checked_changes(SessionOptions(**{name: value}))


def test_options_that_are_none_are_refused():
    with pytest.raises(InvalidArgument, match=r"options: .* SessionOptions are needed, not dict"):
        pack_options({"labels": {}}, Settings())
