"""Merging: binding inputs of cells in the namespace of the session."""

import pytest

pytestmark = pytest.mark.anyio


async def test_inputs_remain_bound_in_later_cells(session):
    await session.run("pass", inputs={"a": 1})

    assert await session.value("a") == 1


async def test_inputs_overwrite_names_of_earlier_cells(session):
    await session.run("a = 'old'\nb = 'kept'")

    assert await session.value("(a, b)", inputs={"a": "new"}) == ("new", "kept")


async def test_functions_of_earlier_cells_see_inputs(session):
    await session.run("def show(): return a")

    assert await session.value("show()", inputs={"a": [1]}) == [1]


async def test_a_cell_may_overwrite_its_inputs(session):
    assert await session.value("a += 1\na", inputs={"a": 1}) == 2


@pytest.mark.parametrize("name", ["_", "__", "___", "_exception", "__builtins__", "__name__", "__doc__", "__spec__"])
async def test_inputs_never_overwrite_a_name_of_the_engine(session, name):
    await session.run("'result'")
    before = await session.text(f"print(repr(globals().get({name!r}, 'unset'))[:80])")

    await session.run("pass", inputs={name: "forged"})

    assert await session.text(f"print(repr(globals().get({name!r}, 'unset'))[:80])") == before


async def test_inputs_of_a_cell_that_does_not_compile_are_not_bound(session):
    await session.run("def f(:", inputs={"a": 1})

    assert await session.value("'a' in globals()") is False


async def test_inputs_may_shadow_builtins(session):
    assert await session.value("len", inputs={"len": 5}) == 5


async def test_inputs_are_new_objects_each_time(session):
    assert await session.value("a.append(1)\na", inputs={"a": []}) == [1]
    assert await session.value("a.append(1)\na", inputs={"a": []}) == [1]


async def test_many_inputs_arrive_complete(session):
    inputs = {f"name_{number}": number for number in range(1000)}

    assert (
        await session.value("sum(v for k, v in globals().items() if k.startswith('name_'))", inputs=inputs) == 499_500
    )
