"""Interrupts and cancels from client to client: the call, the worker, the process, and the one terminal event."""

import asyncio
from contextlib import aclosing

import pytest

import skep

pytestmark = pytest.mark.anyio

READY = "print('ready')\n"
KINDS = {
    "spin": "while True: pass",
    "sleep": "time.sleep(60)",
    "await": "await asyncio.sleep(60)",
    "gather": "await asyncio.gather(*[asyncio.sleep(60) for _ in range(5)])",
    "socket read": "a, b = socket.socketpair()\na.recv(1)",
    "child process": "subprocess.run(['sleep', '60'])",
    "numpy": "import numpy\narray = numpy.random.rand(500, 500)\nwhile True: array = array @ array % 1.0",
    "swallows everything": "while True:\n    try: time.sleep(60)\n    except BaseException: pass",
    "swallows everything, async": "while True:\n    try: await asyncio.sleep(60)\n    except BaseException: pass",
}  # fmt: skip
IMPORTS = "import asyncio, socket, subprocess, time\nkept = {'some': ['data']}"
BACKGROUND = "\nticks = 0\nasync def tick():\n    global ticks\n    while True:\n        ticks += 1\n        await asyncio.sleep(0.001)\nbackground = asyncio.create_task(tick())"


async def terminal_events(session):
    return [(event.cell_id, event.status) async for event in session.events() if event.kind == "cell.finished"]


@pytest.mark.parametrize("background", ["", BACKGROUND], ids=["alone", "beside a background task"])
@pytest.mark.parametrize("code", KINDS.values(), ids=KINDS.keys())
async def test_an_interrupt_ends_the_cell_and_leaves_the_namespace(open_session, says, code, background):
    session = open_session(interrupt_grace=0.1)
    await session.run(IMPORTS + background)
    cell = await session.submit(READY + code)
    await says(cell, "ready")

    assert await cell.interrupt() is True
    outcome = await cell.outcome()

    assert outcome.status is skep.CellStatus.INTERRUPTED
    assert (await session.run("kept")).value == {"some": ["data"]}
    assert (await terminal_events(session)).count((cell.id, skep.CellStatus.INTERRUPTED)) == 1
    assert not [event async for event in session.events() if event.kind == "warning"]
    if background:
        code = "before = ticks\nwhile ticks == before: await asyncio.sleep(0)\nbackground.done()"
        assert (await session.run(code)).value is False


@pytest.mark.parametrize("background", ["", BACKGROUND], ids=["alone", "beside a background task"])
async def test_a_c_call_that_holds_the_gil_is_ended_with_its_process(open_session, says, background):
    session = open_session(interrupt_grace=0.1)
    await session.run(IMPORTS + background)
    cell = await session.submit(f"{READY}import sys; sys.stdout.flush()\nsum(range(10**12))")
    await says(cell, "ready")
    await cell.interrupt()

    assert (await cell.outcome()).status is skep.CellStatus.INTERRUPTED
    assert (await session.run("'the session lives'")).value == "the session lives"
    assert (await terminal_events(session)).count((cell.id, skep.CellStatus.INTERRUPTED)) == 1


async def test_repeated_interrupts_do_not_postpone_the_end(open_session, says):
    session = open_session(interrupt_grace=0.1)
    cell = await session.submit(f"{READY}import sys; sys.stdout.flush()\nsum(range(10**12))")
    await says(cell, "ready")
    ending = asyncio.create_task(cell.outcome())
    while not ending.done():
        await cell.interrupt()
        await asyncio.wait({ending}, timeout=0.05)

    assert (await ending).status is skep.CellStatus.INTERRUPTED


DEAF = {
    "all signals blocked": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    "handlers replaced": "import signal\nfor number in (signal.SIGINT, *range(signal.SIGRTMIN, signal.SIGRTMAX + 1)): signal.signal(number, signal.SIG_IGN)",
    "the control thread starved": "import ctypes\nctypes.PyDLL(None).sleep(60)",
    "stopped": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
}


@pytest.mark.parametrize("code", DEAF.values(), ids=DEAF.keys())
async def test_a_process_that_handles_no_signal_is_killed_and_the_namespace_restored(open_session, says, code):
    session = open_session(interrupt_grace=0.1)
    await session.run("kept = 1")
    cell = await session.submit(f"{READY}import sys; sys.stdout.flush()\n{code}\nwhile True:\n    try:\n        while True: pass\n    except BaseException: pass")  # fmt: skip
    await says(cell, "ready")
    await cell.interrupt()

    assert (await cell.outcome()).status is skep.CellStatus.INTERRUPTED
    assert (await session.run("kept")).value == 1


async def test_a_timeout_ends_a_c_call_that_holds_the_gil(open_session):
    session = open_session(interrupt_grace=0.1)
    outcome = await session.run("sum(range(10**12))", timeout=0.1)

    assert outcome.status is skep.CellStatus.TIMED_OUT
    with pytest.raises(skep.CellTimedOut):
        outcome.raise_for_status()
    assert (await session.run("1")).value == 1


@pytest.mark.parametrize(
    "code", ["import time\ntime.sleep(60)", "import asyncio\nawait asyncio.sleep(60)", "while True: pass"]
)
async def test_a_cell_timeout_is_reported_as_a_timeout(open_session, code):
    outcome = await open_session().run(code, timeout=0.1)

    assert outcome.status is skep.CellStatus.TIMED_OUT
    assert "the cell ran into its timeout of 0.1 s" in outcome.error.traceback


async def test_tla_timeout_is_reported_as_a_timeout(open_session):
    outcome = await open_session(tla_timeout=0.1).run("import asyncio\nawait asyncio.sleep(60)")

    assert (outcome.status, outcome.error.ename) == (skep.CellStatus.TIMED_OUT, "TimeoutError")


async def test_cells_waiting_with_the_process_and_in_the_host_can_be_cancelled(open_session, asks):
    session = open_session()
    first = await session.submit("ran = []\nprint('ready')\ninput()")
    waiting = await session.submit_many([f"ran.append({number})" for number in range(100)])
    last = await session.submit("ran")
    await asks(first)
    cancelled = [waiting[number] for number in (0, 1, 50, 98, 99)]  # the window is 64 cells
    assert await asyncio.gather(*[cell.cancel() for cell in cancelled]) == [True] * 5
    assert await session.answer("") is True

    outcome = await last.outcome()
    statuses = [(await cell.outcome()).status for cell in cancelled]
    assert statuses == [skep.CellStatus.CANCELLED] * 5
    assert outcome.value == [number for number in range(100) if number not in {0, 1, 50, 98, 99}]
    assert [cell_id for cell_id, _ in await terminal_events(session)] == [cell.id for cell in (first, *waiting, last)]


async def test_a_cancelled_cell_has_only_its_end(open_session):
    session = open_session()
    first = await session.submit("input()")
    second = await session.submit("print('never')")
    async with aclosing(first.events()) as events:
        async for event in events:  # an answer before the request would be dropped
            if event.kind == "input.requested":
                break
    await second.cancel()
    await session.answer("")
    outcome = await second.outcome()

    assert (outcome.status, outcome.text) == (skep.CellStatus.CANCELLED, "")
    with pytest.raises(skep.CellCancelled):
        outcome.raise_for_status()
    async with aclosing(second.events()) as events:
        kinds = [event.kind async for event in events]
    assert [kind for kind in kinds if kind not in {"error", "checkpoint.saved"}] == [
        "cell.queued",
        "cell.started",
        "cell.finished",
    ]


async def test_a_cancel_of_the_running_cell_does_not_affect_it(open_session, asks):
    session = open_session()
    cell = await session.submit("print('ready')\ninput()")
    await asks(cell)
    await cell.cancel()
    await session.answer("ran on")

    assert (await cell.outcome()).value == "ran on"


async def test_cancels_and_interrupts_racing_with_the_end_have_one_terminal_event_each(open_session):
    session = open_session()
    cells = []
    for number in range(40):
        pair = await session.submit_many([f"x = {number}", "x"])
        await asyncio.gather(pair[0].cancel() if number % 2 else pair[0].interrupt(), pair[1].outcome())
        cells += pair
    await asyncio.gather(*[cell.outcome() for cell in cells])

    assert [cell_id for cell_id, _ in await terminal_events(session)] == [cell.id for cell in cells]
