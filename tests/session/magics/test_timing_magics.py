"""%timeit and its options."""

import re

import pytest

pytestmark = pytest.mark.anyio

TIMED = r"[\d.]+ (ns|μs|ms|s) ± [\d.]+ (ns|μs|ms|s) per loop \(mean ± std\. dev\. of {} runs?, {} loops? each\)"


@pytest.mark.parametrize(
    "code",
    [
        "%timeit -n 10 -r3 x + 1",
        "%%timeit -n10 -r 3\nx + 1",
        "%timeit -c -n 10 -r 3 !true",
        "# c\n%%timeit -n10 -r3\nx",
    ],
)
async def test_timeit_accepts_numbers_of_loops_and_runs(session, code):
    await session.run("x = 1")

    assert re.fullmatch(TIMED.format(3, 10) + "\n", await session.text(code))


async def test_timeit_returns_its_result_if_requested(session):
    cell = await session.run(
        "t = %timeit -o -q -n 2 -r 3 pass\nt.loops, t.repeat, len(t.all_runs), t.best <= t.average"
    )

    assert (cell.value, cell.text) == ((2, 3, 3, True), "")
    assert re.fullmatch(f"<TimeitResult : {TIMED.format(3, 2)}>", (await session.run("t")).plain)


async def test_timeit_returns_nothing_by_default(session):
    assert (await session.run("%timeit -n 1 -r 1 5")).result is None


@pytest.mark.parametrize("code", ["%timeit", "%timeit -n 0 1", "%%timeit -r 0\n1"])
async def test_timeit_without_a_statement_names_its_options(session, code):
    assert (await session.run(code)).error.ename == "BadMagic"


async def test_timeit_in_a_function_uses_names_of_the_function(session):
    assert (await session.run("def f(local):\n    %timeit -n 1 -r 1 local + 1\nf(1)")).error is None


async def test_a_cell_that_can_not_be_timed_is_refused_with_its_line(session):
    assert (await session.run("%%timeit\n%%capture\n1")).error.ename == "BadMagic"
    assert "line 3" in (await session.run("%%timeit -n 1\n1\n%nope")).error.traceback


async def test_the_body_of_a_timed_cell_may_have_magics(session):
    assert "hi\n" in await session.text("%%timeit -n 1 -r 1\n!echo hi")
