"""Submitting: every option is checked by name, and every refusal of the script becomes its error."""

import pytest

from skep_shared.client_scripts import ClientScripts
from skep_shared.errors import BacklogFull, InvalidArgument, RedisFull, SessionClosed
from skep_shared.keys import Keys
from skep_shared.models import CellSpec
from skep_shared.submission import CELL_OPTIONS, append_cells, build_cell, cell_from_options
from skep_shared.values import decode_value

OPTIONS = {"timeout": 5, "on_worker_loss": "fail", "max_attempts": 2, "inputs": {"x": (1,)}, "labels": {"a": "b"}}
CELLS = [("a", CellSpec(code="1")), ("b", CellSpec(code="2"))]


def test_a_cell_carries_its_options():
    cell = build_cell("x", **OPTIONS)

    assert (cell.code, cell.timeout, cell.on_worker_loss, cell.max_attempts) == ("x", 5, "fail", 2)
    assert decode_value(cell.inputs) == {"x": (1,)}
    assert cell.labels == {"a": "b"}


def test_a_cell_needs_no_options():
    assert build_cell("x") == CellSpec(code="x")


def test_loose_options_make_the_same_cell():
    assert cell_from_options("x", OPTIONS) == build_cell("x", **OPTIONS)


def test_every_option_is_tested_here():
    assert OPTIONS.keys() == set(CELL_OPTIONS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", float("nan")),
        ("timeout", float("inf")),
        ("timeout", "5"),
        ("timeout", True),
        ("max_attempts", 0),
        ("max_attempts", 101),
        ("max_attempts", "3"),
        ("max_attempts", 1.5),
        ("on_worker_loss", "ignore"),
        ("on_worker_loss", None),
        ("on_worker_loss", []),
        ("inputs", "x"),
        ("labels", {"a": 1}),
    ],
)
def test_a_bad_option_is_refused_by_name(field, value):
    with pytest.raises(InvalidArgument) as caught:
        build_cell("x", **{field: value})

    assert caught.value.field == field
    assert caught.value.limit


@pytest.mark.parametrize("code", [None, b"x", "\ud800"], ids=ascii)
def test_bad_code_is_refused(code):
    with pytest.raises(InvalidArgument) as caught:
        build_cell(code)

    assert (caught.value.field, caught.value.value) == ("code", code)


@pytest.mark.parametrize("name", ["priority", "code", ""])
def test_an_unknown_option_is_refused_by_name(name):
    with pytest.raises(InvalidArgument) as caught:
        cell_from_options("x", {name: 1})

    assert (caught.value.field, caught.value.value) == ("option", name)
    assert all(option in caught.value.limit for option in CELL_OPTIONS)


@pytest.mark.anyio
async def test_appended_cells_are_stored_as_they_will_be_read(scripts, redis, keys):
    submitted = await append_cells(scripts, "s", CELLS, max_pending=2)

    assert [placed.seq for placed in submitted.cells] == [1, 2]
    stored = [CellSpec.unpack(fields[b"b"]) for _, fields in await redis.xrange(keys.cells("s"))]
    assert stored == [spec for _, spec in CELLS]


@pytest.mark.anyio
async def test_a_full_backlog_is_told_with_both_numbers(scripts):
    await append_cells(scripts, "s", CELLS, max_pending=3)

    with pytest.raises(BacklogFull) as caught:
        await append_cells(scripts, "s", [("c", CELLS[0][1]), ("d", CELLS[0][1])], max_pending=3)

    assert (caught.value.session_id, caught.value.pending, caught.value.limit) == ("s", 2, 3)


@pytest.mark.anyio
async def test_a_closing_session_is_told(scripts):
    await append_cells(scripts, "s", CELLS, max_pending=2)
    await scripts.close("s")

    with pytest.raises(SessionClosed) as caught:
        await append_cells(scripts, "s", [("c", CELLS[0][1])], max_pending=9)

    assert caught.value.session_id == "s"


@pytest.mark.anyio
async def test_a_full_redis_is_told_as_such(own_redis, own_settings):
    await own_redis.config_set("maxmemory", 1)

    with pytest.raises(RedisFull) as caught:
        await append_cells(ClientScripts(own_redis, Keys(own_settings.prefix)), "s", CELLS, max_pending=2)

    assert caught.value.reason
