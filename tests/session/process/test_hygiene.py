"""Hygiene: nothing leaks, no cell breaks its process for the next cell, and no output is attributed to another cell."""

import asyncio
import os

import pytest

from skep_shared.protocol.orphans import children_of

pytestmark = pytest.mark.anyio

COUNTS = """
import asyncio, gc, os, threading
def counts():
    gc.collect()
    return len(asyncio.all_tasks()), threading.active_count(), len(os.listdir("/proc/self/fd"))
while not any(thread.name == "skep-control" for thread in threading.enumerate()): pass  # it has started, or starts soon
"""


async def test_a_thousand_cells_leave_no_task_thread_or_descriptor(session):
    await session.run(COUNTS)
    await session.run("import time\ntime.sleep(0)")
    before = await session.value("counts()")
    kinds = ["x = {}", "import asyncio; await asyncio.sleep(0); x = {}", "import time; time.sleep(0); x = {}", "print({})", "1 / 0",
             "display({})", "async def f(): return {}\nx = await f()", "def f(): return {}\nf()"]  # fmt: skip
    for start in range(0, 1000, 50):
        cells = session.submit_all(*[kinds[number % len(kinds)].format(number) for number in range(start, start + 50)])
        await cells[-1].ended()

    assert await session.value("counts()") == before


async def test_interrupts_timeouts_and_questions_leave_nothing_behind(session):
    await session.run(COUNTS)
    cell = session.submit("input()")
    await cell.until(lambda cell: cell.questions)
    session.answer(cell, "")
    before = await session.value("counts()")
    for _ in range(20):
        cell = await session.submit("import time\nprint('ready')\ntime.sleep(3600)").said("ready")
        session.interrupt(cell)
        await cell.ended()
        await session.run("await asyncio.sleep(3600)", timeout=0.001)
        await session.run("!true")

    assert await session.value("counts()") == before


async def test_background_tasks_during_blocking_cells_leave_no_threads(session):
    await session.run(COUNTS + "task = asyncio.create_task(asyncio.sleep(3600))\nimport time")
    before = await session.value("counts()")
    for _ in range(50):
        await session.run("time.sleep(0)")

    assert await session.value("counts()") == before


async def test_fifty_sessions_start_at_the_same_time(start_session):
    sessions = await asyncio.gather(*[start_session() for _ in range(50)])
    values = await asyncio.gather(*[each.value(f"{number}") for number, each in enumerate(sessions)])

    assert values == list(range(50))
    assert len({each.process.pid for each in sessions}) == 50


async def test_sessions_share_no_names_modules_or_random_numbers(start_session):
    first, second = [await start_session() for _ in range(2)]
    await first.run("import json, os\nx = 1\njson.mine = 1\nos.environ['MINE'] = '1'")

    assert (
        await second.value("import json, os\n('x' in globals(), hasattr(json, 'mine'), 'MINE' in os.environ)")
        == (False,) * 3
    )
    code = "import random, uuid\n(random.random(), str(uuid.uuid4()))"
    assert await first.value(code) != await second.value(code)


async def test_coroutines_that_were_never_awaited_cause_no_warning_at_the_end(session):
    await session.run("async def f(): pass\nleft = [f(), f()]\nalso = f()")
    await session.process.stop()

    assert "never awaited" not in "".join(cell.stderr for cell in session.cells.values())
    assert session.exit_cause == "exited with status 0"
    assert session.left == []


async def test_a_coroutine_as_a_value_can_be_awaited_later_without_a_warning(session):
    await session.run("async def f(): return 5\nf()")
    value = await session.value("await _")
    await session.run("f()\n")
    for _ in range(4):
        await session.run("'move the results on'")

    assert value == 5
    assert "never awaited" not in "".join(cell.stderr for cell in session.cells.values())


async def test_a_session_that_is_stopped_ends_in_order(session):
    await session.run(
        "import threading, asyncio\nthreading.Thread(target=threading.Event().wait).start()\ntask = asyncio.create_task(asyncio.sleep(3600))"
    )
    await session.process.stop()

    assert session.exit_cause == "exited with status 0"


async def test_the_children_of_a_session_end_with_it(session):
    await session.run("import subprocess\nchild = subprocess.Popen(['sleep', '3600'])")
    (pid,) = children_of(session.process.pid)  # in a sandbox, the cell knows it by another number
    fd = os.pidfd_open(pid)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(fd, ended.set)
    session.process.kill()
    await ended.wait()

    asyncio.get_running_loop().remove_reader(fd)
    os.close(fd)


@pytest.mark.parametrize("name", ["_skep", "skep_workers", "link", "engine", "session"])
async def test_the_namespace_has_no_name_of_the_engine(session, name):
    assert await session.value(f"[n for n in globals() if {name!r} in n]") == []


async def test_a_new_namespace_has_only_what_a_module_has(session):
    assert await session.value("sorted(globals())") == [
        "__builtins__",
        "__doc__",
        "__loader__",
        "__name__",
        "__package__",
        "__spec__",
    ]
