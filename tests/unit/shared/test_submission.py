"""Submitting: every option is checked by name, and every refusal of the script becomes its error."""

import pytest

from skep_shared.broker.client_scripts import ClientScripts
from skep_shared.broker.keys import Keys
from skep_shared.broker.submission import (
    CELL_OPTIONS,
    append_cells,
    build_cell,
    cell_from_options,
    chained,
    pack_options,
)
from skep_shared.errors import BacklogFull, InvalidArgument, RedisFull, SessionClosed
from skep_shared.isolation.session_limits import Limits
from skep_shared.models import CellSpec, SessionOptions
from skep_shared.settings import Settings
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
async def test_a_full_backlog_is_refused_with_both_numbers(scripts):
    await append_cells(scripts, "s", CELLS, max_pending=3)

    with pytest.raises(BacklogFull) as caught:
        await append_cells(scripts, "s", [("c", CELLS[0][1]), ("d", CELLS[0][1])], max_pending=3)

    assert (caught.value.session_id, caught.value.pending, caught.value.limit) == ("s", 2, 3)


@pytest.mark.anyio
async def test_a_closing_session_is_reported(scripts):
    await append_cells(scripts, "s", CELLS, max_pending=2)
    await scripts.close("s")

    with pytest.raises(SessionClosed) as caught:
        await append_cells(scripts, "s", [("c", CELLS[0][1])], max_pending=9)

    assert caught.value.session_id == "s"


@pytest.mark.anyio
async def test_a_full_redis_is_reported_as_such(own_redis, own_settings):
    await own_redis.config_set("maxmemory", 1)

    with pytest.raises(RedisFull) as caught:
        await append_cells(ClientScripts(own_redis, Keys(own_settings.prefix)), "s", CELLS, max_pending=2)

    assert caught.value.reason


def test_in_a_chain_each_cell_runs_after_the_one_before_it():
    cells = chained([*CELLS, ("c", CellSpec(code="3", timeout=1))])

    assert [(cell_id, spec.only_after) for cell_id, spec in cells] == [("a", None), ("b", "a"), ("c", "b")]
    assert cells[2][1].timeout == 1


def test_an_id_twice_in_a_chain_is_refused_by_name():
    with pytest.raises(InvalidArgument, match="'b'"):
        chained([*CELLS, ("b", CellSpec(code="3"))])


def test_options_that_set_nothing_are_stored_as_an_empty_map():
    assert pack_options(None, Settings.load()) == SessionOptions().pack()


def test_the_maximum_of_cells_a_minute_is_stored_with_the_options():
    settings = Settings.load(limits_cells_per_minute=60)
    faster, slower = (SessionOptions(limits=Limits(cells_per_minute=rate)) for rate in (60, 5))

    assert SessionOptions.unpack(pack_options(None, settings)) == faster
    assert SessionOptions.unpack(pack_options(SessionOptions(), settings)) == faster
    assert SessionOptions.unpack(pack_options(slower, settings)) == slower


def test_options_with_an_unknown_tier_of_the_sandbox_are_refused():
    with pytest.raises(InvalidArgument) as caught:
        pack_options(SessionOptions(sandbox="best"), Settings.load())

    assert (caught.value.field, caught.value.value) == ("sandbox", "best")


def test_options_with_a_limit_above_its_maximum_are_refused():
    options = SessionOptions(limits=Limits(cells_per_minute=61))

    with pytest.raises(InvalidArgument) as caught:
        pack_options(options, Settings.load(limits_cells_per_minute=60))

    assert (caught.value.field, caught.value.value) == ("limits.cells_per_minute", 61)
