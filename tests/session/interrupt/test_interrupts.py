"""Interrupts inside the process: which code gets which exception, what remains, and that no other cell is affected.

A cell says `ready` when it is where it should be interrupted. `test_interrupts_end_to_end` goes from client to client.
"""

import re

import pytest

pytestmark = pytest.mark.anyio

WAITS = {
    "spin": "while True: pass",
    "sleep": "time.sleep(3600)",
    "lock": "lock = threading.Lock()\nlock.acquire()\nlock.acquire()",
    "event": "threading.Event().wait()",
    "queue": "queue.Queue().get()",
    "join": "t = threading.Thread(target=time.sleep, args=(3600,), daemon=True)\nt.start()\nt.join()",
    "select": "select.select([], [], [], 3600)",
    "socket": "a, b = socket.socketpair()\na.recv(1)",
    "pipe": "r, w = os.pipe()\nos.read(r, 1)",
    "child": "subprocess.run(['sleep', '3600'])",
    "child of a shell": "os.system('sleep 3600; true')",
    "future": "concurrent.futures.Future().result()",
    "asyncio.run": "async def main(): await asyncio.sleep(3600)\nasyncio.run(main())",
    "asyncio.run spinning": "async def main():\n    while True: pass\nasyncio.run(main())",
    "run_until_complete": "asyncio.get_event_loop().run_until_complete(asyncio.sleep(3600))",
    "comprehension": "[0 for _ in iter(int, 1)]",
    "await sleep": "await asyncio.sleep(3600)",
    "await gather": "await asyncio.gather(*[asyncio.sleep(3600) for _ in range(10)])",
    "await future": "await asyncio.get_running_loop().create_future()",
    "await a spinning coroutine": "async def spin():\n    while True: pass\nawait spin()",
    "await yielding in a loop": "while True: await asyncio.sleep(0)",
    "await a thread": "await asyncio.to_thread(time.sleep, 1)",
    "await a child": "await (await asyncio.create_subprocess_exec('sleep', '3600')).wait()",
    "task group": "async with asyncio.TaskGroup() as group:\n    group.create_task(asyncio.sleep(3600))\n    group.create_task(asyncio.sleep(3600))",
    "async for": "async def forever():\n    while True:\n        await asyncio.sleep(0.001)\n        yield\nasync for _ in forever(): pass",
    "blocking inside await": "await asyncio.sleep(0)\ntime.sleep(3600)",
}  # fmt: skip
IMPORTS = "import asyncio, concurrent.futures, os, queue, select, socket, subprocess, sys, threading, time"
BACKGROUND = "import asyncio\nasync def tick():\n    global ticks\n    while True:\n        ticks += 1\n        await asyncio.sleep(0.001)\nticks = 0\nbackground = asyncio.create_task(tick())"


@pytest.mark.parametrize("background", ["", BACKGROUND], ids=["alone", "with a background task"])
@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
async def test_an_interrupt_ends_a(session, wait, background):
    await session.run(f"{IMPORTS}\nkept = [1, 2, 3]\n{background}")
    cell = await session.submit(f"print('ready')\n{wait}").said("ready\n")
    session.interrupt(cell)
    await cell.ended()

    assert (cell.status, cell.text) == ("interrupted", "ready\n"), cell.error and cell.error.traceback
    assert cell.error.ename in {"KeyboardInterrupt", "CancelledError"}
    assert await session.value("kept") == [1, 2, 3]
    if background:
        assert (
            await session.value("before = ticks\nwhile ticks == before: await asyncio.sleep(0)\nbackground.done()")
            is False
        )


async def test_blocking_code_gets_keyboard_interrupt(session):
    cell = await session.submit(
        "import time\ntry:\n    print('ready')\n    time.sleep(3600)\nexcept KeyboardInterrupt: print('got it')"
    ).said("ready")
    session.interrupt(cell)

    assert (await cell.ended()).status == "finished"
    assert cell.text == "ready\ngot it\n"


async def test_awaiting_code_gets_cancelled_error(session):
    cell = await session.submit(
        "import asyncio\nasyncio.get_running_loop().call_soon(print, 'ready')\n"  # once the cell sleeps
        "try: await asyncio.sleep(3600)\nexcept asyncio.CancelledError: print('got it')"
    ).said("ready")
    session.interrupt(cell)

    assert (await cell.ended()).status == "finished"
    assert cell.text == "ready\ngot it\n"


async def test_the_task_tree_of_an_awaiting_cell_is_cancelled(session):
    await session.run(
        "import asyncio\nleft = []\nasync def leaf(n):\n    try:\n        print('leaf', n)\n        await asyncio.sleep(3600)\n    finally: left.append(n)"
    )
    cell = await session.submit("await asyncio.gather(leaf(1), asyncio.gather(leaf(2), leaf(3)))").said("leaf 3")
    session.interrupt(cell)
    await cell.ended()

    assert await session.value("sorted(left)") == [1, 2, 3]


async def test_finally_blocks_run(session):
    cell = await session.submit(
        "import time\ntry:\n    print('ready')\n    time.sleep(3600)\nfinally: cleaned = True"
    ).said("ready")
    session.interrupt(cell)

    assert (await cell.ended()).status == "interrupted"
    assert await session.value("cleaned") is True


async def test_names_bound_before_the_interrupt_remain(session):
    cell = await session.submit(
        "import time\npartial = [1]\npartial.append(2)\nprint('ready')\ntime.sleep(3600)\npartial = 'never'"
    ).said("ready")
    session.interrupt(cell)
    await cell.ended()

    assert await session.value("partial") == [1, 2]


async def test_an_interrupt_of_a_queued_cell_ends_it_when_it_starts(session):
    first, second, third = session.submit_all("print('ready')\ninput()", "ran = True", "'ran' in globals()")
    await first.until(lambda cell: cell.questions)
    session.interrupt(second)
    session.answer(first, "")
    await third.ended()

    assert [cell.status for cell in (first, second, third)] == ["finished", "interrupted", "finished"]
    assert third.value is False


async def test_an_interrupt_of_a_cell_that_has_ended_affects_no_later_one(session):
    first = await session.run("1")
    second = session.submit("print('ready')\ninput()")
    await second.until(lambda cell: cell.questions)
    session.interrupt(first)
    assert await session.ask("variables") == []  # the interrupt has been read by now
    session.answer(second, "unharmed")

    assert (await second.ended()).value == "unharmed"


async def test_an_interrupt_of_a_queued_cell_does_not_affect_the_running_one(session):
    first = session.submit("input()")
    await first.until(lambda cell: cell.questions)
    later = session.submit("x = 1")
    session.interrupt(later)
    assert await session.ask("variables") == []
    session.answer(first, "unharmed")

    assert (await first.ended()).value == "unharmed"
    assert (await later.ended()).status == "interrupted"


async def test_interrupts_racing_with_the_end_never_affect_the_next_cell(session):
    for _ in range(100):
        hit, spared = session.submit_all("sum(range(2000))", "sum(range(20_000))")
        session.interrupt(hit)
        session.interrupt(hit)
        await spared.ended()
        assert (spared.status, spared.value) == ("finished", 199_990_000)
        assert hit.status in {"finished", "interrupted"}


async def test_interrupting_twice_is_the_same_as_once(session):
    cell = await session.submit("import time\nprint('ready')\ntime.sleep(3600)").said("ready")
    session.interrupt(cell)
    session.interrupt(cell)

    assert (await cell.ended()).status == "interrupted"
    assert await session.value("'next'") == "next"


async def test_children_of_earlier_cells_are_not_interrupted(session):
    await session.run("import subprocess, time\nserver = subprocess.Popen(['sleep', '3600'])\ntime.sleep(0.03)")
    cell = await session.submit("print('ready')\ntime.sleep(3600)").said("ready")
    session.interrupt(cell)
    await cell.ended()

    assert await session.value("still = server.poll()\nserver.kill()\nserver.wait()\nstill is None") is True


async def test_output_before_an_interrupt_is_complete(session):
    cell = await session.submit(
        "import os\nfor i in range(5000): print(i)\nos.write(1, b'ready\\n')\nwhile True: pass"
    ).said("ready")
    session.interrupt(cell)
    await cell.ended()

    assert cell.text == "".join(f"{i}\n" for i in range(5000)) + "ready\n"


async def test_a_cell_interrupted_while_it_prints_loses_no_output(session):
    cell = await session.submit("i = 0\nwhile True:\n    print(i)\n    i += 1").said("100\n")
    session.interrupt(cell)
    await cell.ended()
    lines = cell.text.split()

    assert lines == [str(number) for number in range(len(lines))]
    assert abs(await session.value("i") - len(lines)) <= 1


async def test_the_traceback_of_an_interrupt_shows_where_the_cell_was(session):
    cell = await session.submit("import time\ndef inner():\n    print('ready'); time.sleep(3600)\ninner()").said(
        "ready"
    )
    session.interrupt(cell)
    await cell.ended()

    assert (
        'File "<cell 1>", line 4, in <module>\n    inner()\n  File "<cell 1>", line 3, in inner\n'
        in re.sub(r"\n *[~^]+(?=\n)", "", cell.error.traceback)  # Python 3.13 underlines both calls
    )
    assert "skep_workers" not in cell.error.traceback


@pytest.mark.parametrize("background", ["", BACKGROUND], ids=["alone", "with a background task"])
async def test_c_code_that_keeps_the_gil_and_checks_for_signals_is_interrupted(session, background):
    await session.run(f"import re; kept = 1\n{background}")
    cell = await session.submit("print('ready', flush=True)\nre.match('(a+)+$', 'a' * 60 + 'b')").said("ready")
    session.interrupt(cell)

    assert (await cell.ended()).status == "interrupted"
    assert await session.value("kept") == 1
