"""The option `background_tasks`: what tasks of earlier cells do while a cell blocks, and which thread runs them."""

import pytest

from skep_shared.errors import InvalidArgument
from skep_shared.models import SessionOptions

pytestmark = pytest.mark.anyio

TASK = """
import asyncio, sqlite3, threading, time
db = sqlite3.connect(":memory:")
db.execute("create table t (n)")
local = threading.local()
local.x = 1
seen = []
async def poll():
    while True:
        try:
            db.execute("insert into t values (1)")
            seen.append((threading.current_thread() is threading.main_thread(), hasattr(local, "x")))
        except sqlite3.ProgrammingError: seen.append("another thread")
        await asyncio.sleep(0)
task = asyncio.create_task(poll())
"""  # fmt: skip
BLOCKING = {
    "sleep": "time.sleep(0.01)",
    "asyncio.run": "asyncio.run(asyncio.sleep(0.01))",
    "asyncio.run in exec": "exec('asyncio.run(asyncio.sleep(0.01))')",
    "run_until_complete": "asyncio.get_event_loop().run_until_complete(asyncio.sleep(0.01))",
    "create_task": "time.sleep(0)\nt = asyncio.create_task(asyncio.sleep(0))\ntime.sleep(0.01)",
    "a child process": "import subprocess\nsubprocess.run(['true']);",
    "plain code": "sum(range(1000))",
}


@pytest.mark.parametrize("code", BLOCKING.values(), ids=BLOCKING.keys())
async def test_tasks_that_pause_always_run_on_the_main_thread(start_session, code):
    session = await start_session(background_tasks="pause")
    await session.run(TASK)
    for _ in range(3):
        assert (await session.run(code)).error is None
    await session.run("n = len(seen)\nwhile len(seen) < n + 3: await asyncio.sleep(0)")

    assert await session.value("sorted(set(seen))") == [(True, True)]
    assert await session.value("task.done(), [t.name for t in threading.enumerate() if t.name == 'skep-loop']") == (
        False,
        [],
    )


async def test_tasks_that_pause_do_not_run_while_a_cell_blocks(start_session):
    session = await start_session(background_tasks="pause")
    await session.run(TASK)

    assert await session.value("n = len(seen)\ntime.sleep(0.05)\nlen(seen) - n") == 0
    assert await session.value("n = len(seen)\nasyncio.run(asyncio.sleep(0.05))\nlen(seen) - n") == 0


async def test_tasks_that_pause_run_while_a_cell_runs_the_loop_itself(start_session):
    session = await start_session(background_tasks="pause")
    await session.run(TASK)
    code = "n = len(seen)\nasyncio.get_event_loop().run_until_complete(asyncio.sleep(0.01))\nlen(seen) > n"

    assert await session.value(code) is True


async def test_tasks_continue_by_default(session):
    await session.run(TASK)

    assert (
        await session.value("n = len(seen)\nwhile len(seen) < n + 3: time.sleep(0.001)\nseen[-1]") == "another thread"
    )


async def test_an_interrupt_ends_a_blocking_cell_while_tasks_pause(start_session):
    session = await start_session(background_tasks="pause")
    await session.run(TASK)
    cell = session.submit("print('ready')\ntime.sleep(3600)")
    await cell.said("ready")
    session.interrupt(cell)
    await cell.ended()

    assert cell.status == "interrupted"
    assert await session.value("task.done()") is False


FAILING = """
import asyncio, sqlite3, threading
db = sqlite3.connect(":memory:")
loop, go, has_failed = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
async def use():
    await go.wait()
    try: db.execute("select 1")
    finally: has_failed.set()
task = asyncio.create_task(use())
"""  # fmt: skip
BLOCKS = "loop.call_soon_threadsafe(go.set)\nhas_failed.wait();"
HINT = 'SessionOptions(background_tasks="pause")'


async def test_a_task_that_fails_because_of_its_thread_mentions_the_option_when_awaited(session):
    await session.run(FAILING)
    await session.run(BLOCKS)
    cell = await session.run("await task")

    assert cell.error.ename == "ProgrammingError"
    assert HINT in cell.error.traceback


async def test_a_task_that_fails_because_of_its_thread_mentions_the_option_when_not_awaited(session):
    await session.run(FAILING)
    await session.run(BLOCKS)
    await session.run("await asyncio.sleep(0)\ndel task")
    await session.run("import gc\ngc.collect();")

    assert HINT in "".join(each.stderr for each in session.cells.values())


async def test_an_error_in_a_thread_of_user_code_does_not_mention_the_option(session):
    code = (
        "import sqlite3\nfrom concurrent.futures import ThreadPoolExecutor\ndb = sqlite3.connect(':memory:')\n"
        "with ThreadPoolExecutor() as pool: pool.submit(db.execute, 'select 1').result()"
    )
    cell = await session.run(code)

    assert cell.error.ename == "ProgrammingError"
    assert "background_tasks" not in cell.error.traceback


def test_an_unknown_value_of_the_option_is_refused():
    with pytest.raises(InvalidArgument, match="background_tasks"):
        SessionOptions(background_tasks="stop")


def test_the_default_is_not_stored():
    assert SessionOptions().background_tasks == "run"
    assert SessionOptions.unpack(SessionOptions().pack()).background_tasks == "run"
    assert SessionOptions.unpack(SessionOptions(background_tasks="pause").pack()).background_tasks == "pause"


WHERE = """
import asyncio, threading, time
where = []
async def look():
    while True:
        where.append(threading.current_thread() is threading.main_thread())
        await asyncio.sleep(0.001)
task = asyncio.create_task(look())
"""  # fmt: skip


async def test_the_option_applies_in_the_next_process_and_in_forks(open_session):
    session = open_session(background_tasks="pause")
    assert (await session.run(WHERE)).ok
    await session.hibernate()
    fork = await session.fork(f"{session.id}-fork")
    for each in (session, fork):
        assert (await each.run(WHERE)).ok
        assert (await each.run("time.sleep(0.05)")).ok
        assert (await each.run("await asyncio.sleep(0.01)\nall(where)")).value is True
        await each.close()


async def test_variables_that_hold_functions_of_asyncio_are_restored(open_session):
    session = open_session()
    await session.run(
        "import asyncio\nfrom asyncio import create_task, current_task, get_event_loop, get_running_loop, run, set_event_loop\n"
        "held = [get_running_loop, current_task, run]\nasync def give(): return get_running_loop()"
    )
    await session.hibernate()
    outcome = await session.run(
        "held == [asyncio.get_running_loop, asyncio.current_task, asyncio.run], get_running_loop() is get_event_loop()"
    )
    assert outcome.error is None, outcome.error.traceback
    outcome = await session.run(
        "get_running_loop() is get_event_loop(), run(give()) is not get_running_loop(), await give() is get_running_loop()"
    )

    assert outcome.value == (True, True, True)
    await session.close()
