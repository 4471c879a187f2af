"""Interrupting: the named cell ends, whatever it does, and no other cell does."""

import asyncio

import pytest

import skep

pytestmark = pytest.mark.anyio

LONG_CELLS = {
    "spin": "while True: pass",
    "sleep": "import time; time.sleep(3600)",
    "await": "import asyncio; await asyncio.sleep(3600)",
    "child": "import subprocess; subprocess.run(['sleep', '3600'])",
    "lock": "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()",
}


@pytest.mark.parametrize("code", LONG_CELLS.values(), ids=LONG_CELLS.keys())
async def test_a_running_cell_is_ended(session, first_output, code):
    await session.run("kept = 1")
    cell = await session.submit(f"print('ready')\n{code}")
    await first_output(cell)

    assert await session.interrupt() is True

    outcome = await cell.outcome()
    assert outcome.status is skep.CellStatus.INTERRUPTED
    assert outcome.error.ename in {"KeyboardInterrupt", "CancelledError"}
    with pytest.raises(skep.CellInterrupted):
        outcome.raise_for_status()
    assert (await session.run("kept")).value == 1


async def test_the_traceback_shows_the_interrupted_line(session, first_output):
    cell = await session.submit("import time\nprint('ready')\ntime.sleep(3600)")
    await first_output(cell)
    await cell.interrupt()

    assert "line 3" in (await cell.outcome()).error.traceback


async def test_code_that_handles_the_interrupt_goes_on_with_its_clean_up(session, first_output):
    cell = await session.submit(
        "import time\ntry:\n    print('ready')\n    time.sleep(3600)\nexcept KeyboardInterrupt:\n    print('clean')\n    1 / 0"
    )
    await first_output(cell)
    await cell.interrupt()

    outcome = await cell.outcome()
    assert (outcome.text, outcome.error.ename) == ("ready\nclean\n", "ZeroDivisionError")


@pytest.mark.parametrize("code", ["import asyncio; await asyncio.sleep(3600)", "import time; time.sleep(3600)"])
async def test_cells_that_are_named_before_the_running_one_end_when_they_start(session, first_output, code):
    running, *waiting = await session.submit_many([f"print('ready')\n{code}", *["1"] * 20, "'not interrupted'"])
    await first_output(running)

    # Without an answer in between, so that the running cell may end before the process has read the others.
    assert all(await asyncio.gather(*(cell.interrupt() for cell in [*waiting[:-1], running])))

    statuses = [(await cell.outcome()).status for cell in (running, *waiting)]
    assert statuses == [skep.CellStatus.INTERRUPTED] * 21 + [skep.CellStatus.FINISHED]


async def test_a_queued_cell_that_is_named_ends_when_it_starts(session, gate):
    waiting, named, after = await session.submit_many([gate.wait, "ran = True", "'ran' in globals()"])

    assert await named.interrupt() is True
    await session.variables()  # takes the same path, after the interrupt: now that has arrived
    gate.open()

    assert (await waiting.outcome()).ok
    assert (await named.outcome()).status is skep.CellStatus.INTERRUPTED
    assert (await after.outcome()).value is False


async def test_an_interrupt_right_after_the_submit_is_not_lost(cluster, session):
    for number in range(20):  # one of them arrives while a worker is taking the session
        cell = await cluster.session(f"{session.id}-{number}").submit("import time; time.sleep(3600)")
        assert await cell.interrupt() is True
        assert (await cell.outcome(timeout=10)).status is skep.CellStatus.INTERRUPTED


async def test_a_queued_cell_beyond_the_window_ends_when_it_starts(session, gate):
    cells = await session.submit_many([gate.wait, *["1"] * 200, "ran = True", "'ran' in globals()"])

    assert await cells[-2].interrupt() is True
    gate.open()

    assert (await cells[-2].outcome()).status is skep.CellStatus.INTERRUPTED
    assert (await cells[-1].outcome()).value is False


async def test_a_finished_cell_can_not_be_interrupted(session):
    cell = await session.submit("1")
    await cell.outcome()

    assert await cell.interrupt() is False
    assert await session.interrupt(cell.id) is False


async def test_a_session_where_nothing_runs_has_nothing_to_interrupt(session):
    await session.run("1")

    assert await session.interrupt() is False


async def test_unknown_cells_and_sessions_are_not_found(cluster, session):
    with pytest.raises(skep.NotFound):
        await session.interrupt()
    await session.run("1")
    with pytest.raises(skep.NotFound) as caught:
        await session.interrupt("no such cell")
    assert (caught.value.what, caught.value.name) == ("cell", "no such cell")


async def test_any_client_may_interrupt(cluster, session, first_output):
    cell = await session.submit("print('ready')\nwhile True: pass")
    await first_output(cell)
    async with skep.connect(cluster.redis_url) as other:
        assert await other.cell(session.id, cell.id).interrupt() is True

    assert (await cell.outcome()).status is skep.CellStatus.INTERRUPTED


async def test_an_interrupt_that_comes_late_never_hits_the_next_cell(session):
    async def race() -> skep.Outcome:
        hit, spared = await session.submit_many(["sum(range(1000))", "sum(range(20_000))"])
        await asyncio.gather(*[hit.interrupt() for _ in range(4)])
        return await spared.outcome()

    outcomes = [await race() for _ in range(60)]

    assert {(outcome.status, outcome.value) for outcome in outcomes} == {(skep.CellStatus.FINISHED, 199_990_000)}


async def test_an_interrupt_of_the_running_cell_does_not_affect_waiting_cells(session, first_output):
    cells = await session.submit_many(["print('ready')\nwhile True: pass", "1", "2"])
    await first_output(cells[0])
    await session.interrupt()

    statuses = [(await cell.outcome()).status for cell in cells]
    assert statuses == [skep.CellStatus.INTERRUPTED, skep.CellStatus.FINISHED, skep.CellStatus.FINISHED]


async def test_background_tasks_outlive_the_interrupt_of_a_later_cell(session, first_output):
    await session.run("import asyncio\nasync def work(): await asyncio.sleep(3600)\ntask = asyncio.create_task(work())")
    cell = await session.submit("print('ready')\nawait asyncio.sleep(3600)")
    await first_output(cell)
    await cell.interrupt()
    await cell.outcome()

    assert (await session.run("task.done()")).value is False
