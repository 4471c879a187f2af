"""Timeouts of cells, `tla_timeout` of cells that await, and cells that are withdrawn before they start."""

import pytest

pytestmark = pytest.mark.anyio

NEVER_ENDING = {
    "blocking": ("import time\ntime.sleep(3600)", "KeyboardInterrupt"),
    "awaiting": ("import asyncio\nawait asyncio.sleep(3600)", "CancelledError"),
    "spinning": ("while True: pass", "KeyboardInterrupt"),
    "spinning after an await": ("import asyncio\nawait asyncio.sleep(0)\nwhile True: pass", "KeyboardInterrupt"),
    "child": ("import subprocess\nsubprocess.run(['sleep', '3600'])", "KeyboardInterrupt"),
    "input": ("input()", "KeyboardInterrupt"),
}


@pytest.mark.parametrize(("code", "ename"), NEVER_ENDING.values(), ids=NEVER_ENDING.keys())
async def test_a_cell_runs_into_its_timeout(session, code, ename):
    await session.run("kept = 1")
    cell = await session.run(code, timeout=0.05)

    assert (cell.status, cell.error.ename) == ("timed_out", ename)
    assert cell.error.evalue == "the cell ran into its timeout of 0.05 s"
    assert cell.error.traceback.endswith(f"{cell.error.evalue}\n")
    assert await session.value("kept") == 1


@pytest.mark.parametrize("code", ["while True:\n    try: pass\n    except BaseException: pass", "import time\nwhile True:\n    try: time.sleep(3600)\n    except BaseException: pass"])  # fmt: skip
async def test_code_that_swallows_its_timeout_is_ended_by_the_second_step(start_session, code):
    session = await start_session(interrupt_grace=0.05)
    cell = await session.run(code, timeout=0.05)

    assert cell.status == "timed_out"


async def test_a_timeout_does_not_affect_the_next_cell(session):
    cell, following = session.submit("import time\ntime.sleep(3600)", timeout=0.05), session.submit("input()")
    await cell.ended()
    await following.until(lambda cell: cell.questions)
    session.answer(following, "no timeout")

    assert (await following.ended()).value == "no timeout"


async def test_a_cell_that_is_quick_enough_is_not_affected_by_its_timeout(session):
    assert await session.value("import time\ntime.sleep(0.001)\n'in time'", timeout=30.0) == "in time"


async def test_the_time_in_the_queue_does_not_count(session):
    longer = session.submit("import time\ntime.sleep(0.3)")
    waiting = session.submit("'in time'", timeout=0.2)
    await waiting.ended()

    assert longer.done.run_us > 200_000
    assert waiting.value == "in time"


async def test_code_may_continue_after_its_timeout_and_ends_with_its_own_status(session):
    cell = await session.run(
        "import time\ntry: time.sleep(3600)\nexcept KeyboardInterrupt: x = 'cleaned up'\nx", timeout=0.05
    )

    assert (cell.status, cell.value) == ("finished", "cleaned up")


async def test_an_interrupt_before_the_timeout_is_an_interrupt(session):
    cell = await session.submit("import time\nprint('ready')\ntime.sleep(3600)", timeout=3000.0).said("ready")
    session.interrupt(cell)

    assert (await cell.ended()).status == "interrupted"


async def test_a_timeout_of_user_code_is_a_failure(session):
    cell = await session.run(
        "import asyncio\nasync with asyncio.timeout(0.01): await asyncio.sleep(3600)", timeout=30.0
    )

    assert (cell.status, cell.error.ename) == ("failed", "TimeoutError")


async def test_tla_timeout_bounds_a_cell_that_awaits(start_session):
    session = await start_session(tla_timeout=0.05)
    cell = await session.run("import asyncio\nawait asyncio.sleep(3600)")

    assert (cell.status, cell.error.ename) == ("timed_out", "TimeoutError")
    assert cell.error.evalue == "cell cell-1 awaited for longer than its tla_timeout of 0.05 s"
    assert cell.error.evalue in cell.error.traceback


@pytest.mark.parametrize("code", ["import time\ntime.sleep(0.1)\n'done'", "import time\nt = time.monotonic()\nwhile time.monotonic() < t + 0.1: pass\n'done'"])  # fmt: skip
async def test_tla_timeout_does_not_bound_other_cells(start_session, code):
    session = await start_session(tla_timeout=0.05)

    assert await session.value(code) == "done"


async def test_a_timeout_error_before_the_tla_timeout_is_a_failure(start_session):
    session = await start_session(tla_timeout=3000.0)
    cell = await session.run("import asyncio\nawait asyncio.sleep(0)\nraise TimeoutError('mine')")

    assert (cell.status, cell.error.evalue) == ("failed", "mine")


async def test_the_session_continues_after_tla_timeouts(start_session):
    session = await start_session(tla_timeout=0.02)
    for _ in range(3):
        assert (await session.run("import asyncio\nawait asyncio.sleep(3600)")).status == "timed_out"

    assert await session.value("await asyncio.sleep(0, 'on')") == "on"


async def test_a_withdrawn_cell_does_not_run_and_the_others_keep_their_order(session):
    cells = session.submit_all("ran = [1]\ninput()", "ran.append(2)", "ran.append(3)", "ran.append(4)\nran")
    await cells[0].until(lambda cell: cell.questions)
    session.withdraw(cells[2])
    assert await session.ask("variables") != []  # the withdrawal has been read by now
    session.answer(cells[0], "")
    await cells[-1].ended()

    assert [cell.status for cell in cells] == ["finished", "finished", "cancelled", "finished"]
    assert cells[-1].value == [1, 2, 4]
    assert cells[2].kinds == ["Done"]
    assert cells[2].frames[0].run_us == 0


@pytest.mark.parametrize("busy", ["while True: pass", "await asyncio.Event().wait()", "time.sleep(60)"])
async def test_a_cell_withdrawn_before_the_interrupt_does_not_run(session, busy):
    """The interrupt's signal is faster than the thread that reads withdrawals, so the next cell could start."""
    await session.run("import asyncio, time\nruns = 0")
    for _ in range(10):
        cells = session.submit_all(f"print('runs')\n{busy}", "runs += 1")
        await cells[0].said("runs")
        session.withdraw(cells[1])
        session.interrupt(cells[0])
        assert [(await cell.ended()).status for cell in cells] == ["interrupted", "cancelled"]

    assert await session.value("runs") == 0


async def test_a_cell_that_runs_can_not_be_withdrawn(session):
    cell = session.submit("input()")
    await cell.until(lambda cell: cell.questions)
    session.withdraw(cell)
    assert await session.ask("variables") == []
    session.answer(cell, "ran on")

    assert (await cell.ended()).value == "ran on"


async def test_none_of_many_withdrawn_cells_runs(session):
    cells = session.submit_all("ran = []\ninput()", *[f"ran.append({number})" for number in range(50)], "ran")
    await cells[0].until(lambda cell: cell.questions)
    for cell in cells[1:51:2]:
        session.withdraw(cell)
    assert await session.ask("variables") != []
    session.answer(cells[0], "")
    await cells[-1].ended()

    assert cells[-1].value == list(range(1, 50, 2))
    assert [cell.status for cell in cells[1:51]] == ["cancelled", "finished"] * 25


async def test_withdrawals_racing_with_the_start_have_one_end_each(session):
    for _ in range(50):
        cells = session.submit_all("x = 0", "x += 1", "x")
        session.withdraw(cells[1])
        await cells[2].ended()
        assert cells[1].status in {"finished", "cancelled"}
        assert cells[2].value == (1 if cells[1].status == "finished" else 0)
