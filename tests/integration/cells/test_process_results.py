"""Values, `_`, errors: what a cell returns, and what remains in the session."""

import asyncio

import pytest

import skep

from ..session_processes import OWN_NAME

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("1 + 1", 2),
        ("x = 1", None),
        ("1 + 1;", None),
        ("1 + 1  # ; no", 2),
        ("x = 5\nx * 2", 10),
        ("None", None),
        ("if True: 5", None),
        ("def f(): return 5", None),
        ("import asyncio; await asyncio.sleep(0, 'slept')", "slept"),
        ("async def agen():\n    yield 1\n[i async for i in agen()]", [1]),
        ("'multi'\n'line'", "line"),
        ("", None),
        ("# nothing", None),
        ("(1, [2.5, None], {'k': b'v'})", (1, [2.5, None], {"k": b"v"})),
        ("2 ** 200", 2**200),
        ("object", "<class 'object'>"),
    ],
)
async def test_the_last_expression_is_the_value(session, code, value):
    outcome = await session.run(code)

    assert (outcome.status, outcome.value) == (skep.CellStatus.FINISHED, value)


async def test_underscore_is_the_last_value_that_was_not_none(session):
    for code in ("1", "2", "3", "x = 9", "None", "4;"):
        await session.run(code)

    assert (await session.run("(_, __)")).value == (3, 2)


async def test_a_syntax_error_is_the_cell_s_outcome_with_line_and_caret(session):
    outcome = await session.run("x = 1\ny = = 2")

    assert (outcome.status, outcome.error.ename) == (skep.CellStatus.FAILED, "SyntaxError")
    lines = outcome.error.traceback.splitlines()
    assert any("line 2" in line for line in lines)
    assert any(line.strip() == "^" for line in lines)
    assert (await session.run("'x' in globals()")).value is False


async def test_a_traceback_shows_the_source_of_every_cell_it_passes(session):
    await session.run("def divide(a, b):\n    return a / b")
    outcome = await session.run("divide(1, 0)")

    assert (outcome.error.ename, outcome.error.evalue) == ("ZeroDivisionError", "division by zero")
    assert "return a / b" in outcome.error.traceback
    assert "divide(1, 0)" in outcome.error.traceback
    assert "skep_workers" not in outcome.error.traceback
    with pytest.raises(skep.CellFailed, match="division by zero"):
        outcome.raise_for_status()


@pytest.mark.parametrize(
    ("code", "ename"),
    [
        ("import sys; sys.exit(3)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise SystemExit", "SystemExit"),
        ("class Odd(BaseException): pass\nraise Odd('x')", "Odd"),
        ("import asyncio; raise asyncio.CancelledError", "CancelledError"),
        ("def f(): f()\nf()", "RecursionError"),
        ("raise GeneratorExit", "GeneratorExit"),
    ],
)
async def test_an_exception_ends_the_cell_and_not_the_session(session, code, ename):
    process = (await session.run(f"kept = 1; {OWN_NAME}")).value
    outcome = await session.run(code)

    assert (outcome.status, outcome.error.ename) == (skep.CellStatus.FAILED, ename)
    assert (await session.run(f"(kept, {OWN_NAME})")).value == (1, process)


async def test_names_assigned_before_an_error_stay(session):
    await session.run("a = 1\nb = 2\n1 / 0\nc = 3")

    assert (await session.run("(a, b, 'c' in globals())")).value == (1, 2, False)


async def test_a_repr_that_raises_is_contained(session):
    outcome = await session.run("class Bad:\n    def __repr__(self): raise ValueError('no')\nBad()")

    assert outcome.status is skep.CellStatus.FINISHED
    assert "ValueError" in outcome.value
    assert (await session.run("1")).value == 1


async def test_sessions_run_at_the_same_time(cluster, session, gate):
    waiting = await session.submit(gate.wait)
    other = cluster.session(f"{session.id}-other")

    assert (await other.run("1")).value == 1
    gate.open()
    assert (await waiting.outcome()).ok


async def test_background_tasks_run_between_cells(session, first_output, gate):
    await session.run(
        "import asyncio\nseen = []\nasync def tick():\n    seen.append(1)\n    done.set()\ndone = asyncio.Event()"
    )
    await session.run("task = asyncio.create_task(tick())")

    assert (await session.run("await done.wait(); seen")).value == [1]


async def test_a_fork_by_user_code_disturbs_nothing(session):
    code = """
import os, sys
print("before")
pid = os.fork()
if pid == 0:
    print("child")
    sys.exit(0)
_, status = os.waitpid(pid, 0)
print("after")
os.waitstatus_to_exitcode(status)
"""
    outcome = await session.run(code)

    assert (outcome.status, outcome.value) == (skep.CellStatus.FINISHED, 0)
    assert sorted(outcome.text.split()) == ["after", "before", "child"]
    assert (await session.run("1")).value == 1


async def test_a_forked_child_that_runs_to_the_end_of_the_cell_is_no_session(session):
    outcomes = [await session.run("import os; pid = os.fork(); pid > 0") for _ in range(5)]

    assert {outcome.status for outcome in outcomes} == {skep.CellStatus.FINISHED}
    assert {outcome.value for outcome in outcomes} == {True}
    events = [event async for event in session.events() if event.kind in {"result", "cell.finished"}]
    assert len(events) == 10


@pytest.mark.parametrize("method", ["fork", "spawn"])
async def test_multiprocessing_works(session, method):
    code = f"""
import math, multiprocessing
with multiprocessing.get_context({method!r}).Pool(2) as pool:
    values = pool.map(math.factorial, range(6))
values
"""
    assert (await session.run(code)).value == [1, 1, 2, 6, 24, 120]
    assert (await session.run("1")).value == 1


async def test_threads_of_a_cell_may_print_and_outlive_it(session):
    first = await session.run(
        "import threading\ngo = threading.Event()\ndef work():\n    go.wait()\n    print('from the thread')\n"
        "thread = threading.Thread(target=work, daemon=True)\nthread.start()"
    )
    await session.run("go.set(); thread.join()")

    texts = [(event.cell_id, event.text) async for event in session.events() if event.kind == "output"]
    assert {cell_id for cell_id, _ in texts} == {first.cell_id}
    assert "".join(text for _, text in texts) == "from the thread\n"


async def test_every_cell_commits_whether_its_process_or_a_child_saves_the_state(session):
    # While a thread of the user's lives, a forked child saves the namespace, and reports on its own socket.
    await session.run(
        "import threading\nend = threading.Event()\nthreading.Thread(target=end.wait, daemon=True).start()"
    )
    for number in range(150):
        assert (await session.run(f"n = {number}\nn")).value == number


async def test_many_sessions_at_a_time_keep_their_states_apart(cluster, session):
    sessions = [cluster.session(f"{session.id}-{number}") for number in range(30)]
    await asyncio.gather(*[each.run(f"n = {number}") for number, each in enumerate(sessions)])
    outcomes = await asyncio.gather(*[each.run("n") for each in sessions])

    assert [outcome.value for outcome in outcomes] == list(range(30))
