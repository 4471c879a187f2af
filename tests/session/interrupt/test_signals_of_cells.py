"""Signals that cells handle: exceptions of a handler reach the code that runs or waits, in cells of every kind."""

import pytest

pytestmark = pytest.mark.anyio

LATE = "import asyncio, os, signal, threading, time\ndef late(*_): raise TimeoutError('too late')\nsignal.signal(signal.SIGALRM, late)\ndef alarm(s=0.02): signal.setitimer(signal.ITIMER_REAL, s, s and 2)"
# Again after two seconds: a signal right before a call blocks in C does not end that call, in any Python.

WAITS = {
    "time.sleep": "time.sleep(3600)",
    "code that spins": "i = 0\n    while True: i += 1",
    "a lock": "threading.Lock().acquire() and threading.Event().wait()",
    "asyncio.sleep": "await asyncio.sleep(3600)",
    "a future": "await asyncio.get_running_loop().create_future()",
    "a task": "await asyncio.create_task(asyncio.sleep(3600))",
    "gather": "await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(3600))",
    "wait_for": "await asyncio.wait_for(asyncio.sleep(3600), 7200)",
    "an inner timeout": "async with asyncio.timeout(3600): await asyncio.sleep(3600)",
    "a queue": "await asyncio.Queue().get()",
    "an event": "await asyncio.Event().wait()",
    "a thread": "await asyncio.to_thread(time.sleep, 0.2)",
    "an async for": "async for _ in endless(): pass",
    "a busy loop of awaits": "while True:\n        await asyncio.sleep(0)",
    "asyncio.run": "asyncio.run(asyncio.sleep(3600))",
    "run_until_complete": "asyncio.get_event_loop().run_until_complete(asyncio.sleep(3600))",
}  # fmt: skip
ENDLESS = "async def endless():\n    while True:\n        await asyncio.sleep(0.001)\n        yield 1"


@pytest.mark.parametrize(
    "task", ["", "task = asyncio.create_task(asyncio.sleep(3600))"], ids=["alone", "beside a task"]
)
@pytest.mark.parametrize("code", WAITS.values(), ids=WAITS.keys())
async def test_an_alarm_is_caught_where_the_cell_waits(session, code, task):
    await session.run(f"{LATE}\n{ENDLESS}\n{task}")
    cell = await session.run(f"alarm()\ntry:\n    {code}\nexcept TimeoutError as e: print(e)\nfinally: alarm(0)")

    assert cell.error is None, cell.error.traceback
    assert (cell.stdout, cell.status) == ("too late\n", "finished")
    assert await session.value("await asyncio.sleep(0)\n'goes on'") == "goes on"


async def test_a_handler_set_by_the_awaiting_cell_itself_is_called(session):
    cell = await session.run(f"{LATE}\nalarm()\ntry: await asyncio.sleep(3600)\nexcept TimeoutError as e: print(e)")

    assert cell.text == "too late\n"


async def test_a_cell_that_does_not_catch_the_exception_fails_with_it(session):
    await session.run(LATE)
    cell = await session.run("alarm()\nawait asyncio.sleep(3600)")

    assert (cell.status, cell.error.ename, cell.error.evalue) == ("failed", "TimeoutError", "too late")
    assert "CancelledError" not in cell.error.traceback
    assert "skep_workers" not in cell.error.traceback


async def test_every_alarm_is_handled_wherever_the_loop_is(session):
    await session.run(LATE)
    code = (
        "caught = 0\nwhile caught < 100:\n    try:\n        alarm(0.001)\n        while True:\n            await asyncio.sleep(0)\n"
        "    except TimeoutError: caught += 1\ncaught"
    )

    assert await session.value(code) == 100


async def test_an_exception_of_a_handler_cancels_what_the_cell_awaits(session):
    await session.run(LATE)
    code = "alarm()\ntask = asyncio.create_task(asyncio.sleep(3600))\ntry: await task\nexcept TimeoutError: pass\ntask.cancelled(), asyncio.current_task().cancelling()"

    assert await session.value(code) == (True, 0)


async def test_the_cell_always_finds_the_handler_that_it_has_set(session):
    await session.run(LATE)
    code = (
        "looks = [signal.getsignal(signal.SIGALRM) is late]\nawait asyncio.sleep(0.001)\n"
        "looks.append(signal.getsignal(signal.SIGALRM) is late)\nlooks"
    )

    assert await session.value(code) == [True, True]
    assert await session.value("signal.getsignal(signal.SIGALRM) is late") is True


async def test_an_interrupt_ends_an_awaiting_cell_with_a_handler(session):
    await session.run(LATE)
    cell = session.submit("print('ready')\nawait asyncio.sleep(3600)")
    await cell.said("ready")
    session.interrupt(cell)
    await cell.ended()

    assert cell.status == "interrupted"


ADDED = "import asyncio, os, signal, time\nhits = []\ndef hit(n): hits.append(n)\ndef send(): os.kill(os.getpid(), signal.SIGUSR1)"
ADDING = {
    "a cell that awaits": "await asyncio.sleep(0)\nasyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, hit, 1)",
    "a plain cell": "asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, hit, 1)",
    "a blocking cell": "time.sleep(0)\nasyncio.get_event_loop().add_signal_handler(signal.SIGUSR1, hit, 1)",
    "a task beside a cell that blocks": (
        "async def add():\n    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, hit, 1)\n"
        "task = asyncio.get_event_loop().create_task(add())\nwhile not task.done(): time.sleep(0.001)\ntask.result()"
    ),
    "a task beside a cell that awaits": (
        "async def add():\n    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, hit, 1)\n"
        "await asyncio.create_task(add())"
    ),
}  # fmt: skip
SENDING = {
    "a cell that awaits": "send()\nwhile not hits: await asyncio.sleep(0.001)",
    "a blocking cell": "send()\nwhile not hits: time.sleep(0.001)",
    "a plain cell": "send()",
}


@pytest.mark.parametrize("send", SENDING.values(), ids=SENDING.keys())
@pytest.mark.parametrize("add", ADDING.values(), ids=ADDING.keys())
async def test_the_loop_handles_signals_wherever_they_were_added_and_arrive(session, add, send):
    await session.run(ADDED)
    cell = await session.run(add)
    assert cell.error is None, cell.error.traceback
    cell = await session.run(send)
    assert cell.error is None, cell.error.traceback

    assert await session.value("while not hits: await asyncio.sleep(0.001)\nhits") == [1]


async def test_a_task_removes_its_signal_handler_while_a_cell_blocks(session):
    await session.run(f"{ADDED}\nasyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, hit, 1)")
    code = (
        "async def remove(): return asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)\n"
        "task = asyncio.get_event_loop().create_task(remove())\nwhile not task.done(): time.sleep(0.001)\n"
        "task.result(), signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL"
    )

    assert await session.value(code) == (True, True)


async def test_a_signal_handler_of_a_task_prints_for_its_cell(session):
    first = await session.run(
        f"{ADDED}\nasync def add():\n    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print, 'hit')\n"
        "task = asyncio.create_task(add())"
    )
    later = await session.run("send()\nawait asyncio.sleep(0.01)")
    await first.said("hit\n")

    assert later.text == ""


async def test_waking_the_loop_does_not_signal_it(session):
    await session.run(f"{ADDED}\nasyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hit, 'hang-up')")
    await session.run(
        "event = asyncio.Event()\nasync def wait(): await event.wait()\ntask = asyncio.create_task(wait())"
    )
    await session.run("event.set()\nwhile not task.done(): time.sleep(0.001)")

    assert await session.value("await asyncio.sleep(0.01)\nhits") == []
