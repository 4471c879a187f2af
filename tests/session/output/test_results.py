"""Results: what the last expression shows, the history of `_`, and values that travel as data."""

import math

import pytest

pytestmark = pytest.mark.anyio

HISTORY = "[globals().get(name, 'unset') for name in ('_', '__', '___')]"


async def history(session):
    """Return the three names, read by a cell that shows no value and so moves none."""
    cell = await session.run(f"print({HISTORY})")
    return cell.text.strip()


async def test_a_new_session_has_no_results(session):
    assert await history(session) == "['unset', 'unset', 'unset']"


async def test_results_move_down_one_by_one(session):
    for code in ("1", "2", "3", "4"):
        await session.run(code)

    assert await history(session) == "[4, 3, 2]"


@pytest.mark.parametrize(
    "code",
    [
        "x = 5",
        "None",
        "print('x')",
        "def f(): return 5",
        "import math",
        "5\nx = 6",
        "for i in [1]: i",
        "x: int = 1",
        "del _y",
    ],
)
async def test_a_cell_without_a_value_moves_no_results(session, code):
    await session.run("_y = 0\n'first'")
    await session.run("'second'")
    await session.run(code)

    assert await history(session) == "['second', 'first', 'unset']"


async def test_an_error_in_the_last_expression_moves_no_results(session):
    await session.run("'first'")
    await session.run("1 / 0")

    assert await history(session) == "['first', 'unset', 'unset']"


@pytest.mark.parametrize(
    "code",
    ["import asyncio\nawait asyncio.sleep(0, 7)", "import time\ntime.sleep(0)\n7", "async def f(): pass\n7", "7"],
    ids=["await", "blocking", "async def", "simple"],
)
async def test_a_value_of_every_mode_is_kept(session, code):
    assert (await session.run(code)).value == 7

    assert await history(session) == "[7, 'unset', 'unset']"


async def test_false_and_empty_values_count_as_values(session):
    for code in ("0", "''", "[]", "False"):
        assert (await session.run(code)).result is not None

    assert await history(session) == "[False, [], '']"


async def test_results_are_usable_in_expressions(session):
    await session.run("20")
    await session.run("22")

    assert await session.value("_ + __") == 42


async def test_a_result_is_the_object_itself(session):
    await session.run("x = object()\nx")

    assert await session.value("_ is x") is True


@pytest.mark.parametrize(
    "code",
    ["5;", "5 ;", "5; # why", "5;\n\n# the end\n", "x = 1\n5;", "'a;b';", "await __import__('asyncio').sleep(0, 5);"],
)
async def test_a_trailing_semicolon_hides_the_value(session, code):
    cell = await session.run(code)

    assert (cell.status, cell.result) == ("finished", None)


@pytest.mark.parametrize("code", ["'a;'", "5 # ;", "x = 1; 5", "'''\n;'''", "f(';')", "{';': 1}"])
async def test_a_semicolon_elsewhere_hides_nothing(session, code):
    await session.run("f = str")

    assert (await session.run(code)).result is not None


async def test_a_hidden_value_is_no_result(session):
    await session.run("4")
    await session.run("5;")

    assert await history(session) == "[4, 'unset', 'unset']"


@pytest.mark.parametrize("bind", ["_ = 42", "for _ in range(43): pass", "from operator import neg as _"])
async def test_a_name_of_results_that_the_user_has_bound_is_not_changed(session, bind):
    await session.run("1 + 1")
    await session.run(bind)
    before = (await session.run("[_]")).plain
    await session.run("'a result'")

    assert (await session.run("[_]")).plain == before
    await session.run("del _")
    await session.run("'kept again'")
    assert await session.value("_") == "kept again"


async def test_a_name_of_results_among_the_builtins_is_not_changed(session):
    await session.run("import gettext; gettext.install('x')")
    await session.run("5")

    assert await session.value("_('text')") == "text"


async def test_a_name_of_results_is_the_users_after_a_restore_too(open_session):
    session = open_session()
    await session.run("5")
    await session.run("_ = 42")
    await session.hibernate()
    await session.run("6")
    assert (await session.run("_")).value == 42
    await session.run("del _")
    await session.run("7")
    await session.hibernate()
    await session.run("8")

    assert (await session.run("_, __")).value == (8, 7)


async def test_only_the_last_expression_shows(session):
    cell = await session.run("1\n2\n3")

    assert cell.value == 3
    assert len([frame for frame in cell.frames if type(frame).__name__ == "Result"]) == 1


async def test_a_last_expression_inside_a_block_shows_nothing(session):
    assert (await session.run("if True:\n    5")).result is None


async def test_the_latest_exception_has_a_name(session):
    await session.run("1 / 0")

    assert await session.value("repr(_exception)") == "ZeroDivisionError('division by zero')"


TRAVELLING = [
    None, True, False, 0, -1, 2**31, 2**63 - 1, 2**64, -(2**200), 0.0, -0.0, 1.5, float("inf"), 1e300, "", "text", "ü😀",
    "\ud800", "a\0b", b"", b"\x00\xff", [], [1, [2, [3]]], (), (1, "a"), {}, {"k": 1}, {1: 2, None: 3, (1, 2): "t"},
    [None, True, 1, 1.5, "s", b"b", [], (), {}], {"nested": {"list": [(1, {"deep": b"x"})]}},
]  # fmt: skip


@pytest.mark.parametrize("value", TRAVELLING, ids=repr)
async def test_a_plain_value_makes_the_round_trip(session, value):
    code = f"x = {value!r}\n[x]".replace("inf", "float('inf')")
    got = await session.value(code)

    assert got == [value]
    assert type(got[0]) is type(value)
    assert repr(got) == repr([value])


async def test_not_a_number_makes_the_round_trip(session):
    assert math.isnan(await session.value("float('nan')"))


@pytest.mark.parametrize(
    "code",
    ["object()", "{1, 2}", "range(3)", "[object()]", "1j", "class S(str): pass\nS('s')", "import enum\nenum.IntEnum('E', 'A').A",
     "x = []; x.append(x); x", "print", "type", "lambda: 0", "(i for i in [])", "{'a': {1}}", "import collections\ncollections.OrderedDict(a=1)"],
)  # fmt: skip
async def test_anything_else_travels_as_its_repr(session, code):
    cell = await session.run(code)

    assert cell.status == "finished"
    assert cell.result.data is None
    assert cell.plain == (await session.value("repr(_)"))


async def test_a_value_nested_too_deeply_travels_as_its_repr(session):
    cell = await session.run("x = []\nfor _i in range(300): x = [x]\nx")

    assert (cell.status, cell.result.data) == ("finished", None)
    assert cell.plain == "[" * 301 + "]" * 301


async def test_a_value_too_large_to_travel_arrives_as_a_shortened_repr(session):
    cell = await session.run("'x' * 50_000_000")

    assert (cell.status, cell.result.data) == ("finished", None)
    assert len(cell.plain) < 2_000_000
    assert "characters left out" in cell.plain


async def test_inputs_are_bound_before_the_cell(session):
    assert await session.value("(a, b)", inputs={"a": [1, (2,)], "b": b"x"}) == ([1, (2,)], b"x")
