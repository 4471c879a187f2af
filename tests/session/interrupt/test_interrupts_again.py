"""Cells that the first step does not end: code that swallows or ignores it, and tasks that hold the loop."""

import pytest

pytestmark = pytest.mark.anyio

BACKGROUND = "import asyncio\nasync def tick():\n    global ticks\n    while True:\n        ticks += 1\n        await asyncio.sleep(0.001)\nticks = 0\nbackground = asyncio.create_task(tick())"
SWALLOWERS = {
    "sync loop": "while True:\n    try:\n        while True: x = 1\n    except BaseException: pass",
    "sync loop, one line": "while True:\n    try: time.sleep(3600)\n    except BaseException: continue",
    "in a function": "def f():\n    while True:\n        try: time.sleep(0.001)\n        except BaseException: pass\nf()",
    "async loop": "while True:\n    try: await asyncio.sleep(3600)\n    except BaseException: pass",
    "async loop in a function": "async def f():\n    while True:\n        try: await asyncio.sleep(0.001)\n        except BaseException: pass\nawait f()",
    "async spinning": "await asyncio.sleep(0)\nwhile True:\n    try:\n        while True: x = 1\n    except BaseException: pass",
    "bare except": "while True:\n    try: time.sleep(3600)\n    except: pass",
    "return in finally": "def f():\n    try: time.sleep(3600)\n    finally: return\nwhile True: f()",
    "suppress": "while True:\n    with contextlib.suppress(BaseException): time.sleep(3600)",
}


@pytest.mark.parametrize("background", ["", BACKGROUND], ids=["alone", "with a background task"])
@pytest.mark.parametrize("code", SWALLOWERS.values(), ids=SWALLOWERS.keys())
async def test_code_that_swallows_every_exception_is_ended_by_the_second_step(start_session, code, background):
    session = await start_session(interrupt_grace=0.05)
    await session.run(f"import asyncio, contextlib, time\nkept = 1\n{background}")
    cell = await session.submit(f"print('ready')\n{code}").said("ready")
    session.interrupt(cell)

    assert (await cell.ended()).status == "interrupted"
    assert await session.value("kept") == 1


async def test_code_that_ignores_the_signal_is_ended_by_the_second_step(start_session):
    session = await start_session(interrupt_grace=0.05)
    cell = await session.submit(
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('ready')\nwhile True: time.sleep(3600)"
    ).said("ready")
    session.interrupt(cell)

    assert (await cell.ended()).status == "interrupted"
    again = await session.submit("print('again')\nwhile True: time.sleep(3600)").said("again")
    session.interrupt(again)
    assert (await again.ended()).status == "interrupted"


async def test_a_background_task_that_holds_the_loop_up_is_ended_for_the_cell_after_it(start_session):
    session = await start_session(interrupt_grace=0.05)
    await session.run(
        "import asyncio\nasync def hog():\n    await asyncio.sleep(0)\n    print('hogging')\n    while True: pass\ntask = asyncio.create_task(hog())"
    )
    await session.cells[1].said("hogging")
    cell = session.submit("1")
    session.interrupt(cell)
    await cell.ended()

    assert await session.value("task.done()") is True


async def test_the_second_step_traces_nothing_afterwards(start_session):
    session = await start_session(interrupt_grace=0.05)
    cell = await session.submit(
        "print('ready')\nwhile True:\n    try:\n        while True: x = 1\n    except BaseException: pass"
    ).said("ready")
    session.interrupt(cell)
    await cell.ended()
    await session.run("def f(): return 1\nf()")

    assert await session.value("import sys\nsys.gettrace() is None") is True


async def test_a_loop_around_os_system_is_ended_although_os_system_ignores_the_signal(session):
    cell = await session.submit("import os\nprint('ready')\nwhile True: os.system('sleep 3600')").said("ready")
    session.interrupt(cell)

    assert (await cell.ended()).status == "interrupted"


async def test_a_handler_of_user_code_decides_what_an_interrupt_means(session):
    cell = await session.submit(
        "import signal, time\nstop = []\nsignal.signal(signal.SIGINT, lambda *_: stop.append(1))\nprint('ready')\n"
        "while not stop: time.sleep(0.001)\n'stopped in order'"
    ).said("ready")
    session.interrupt(cell)

    assert (await cell.ended()).value == "stopped in order"


async def test_a_queued_cell_is_ended_even_where_the_signal_is_ignored(session):
    await session.run("import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)")
    first, second = session.submit_all("input()", "ran = True")
    await first.until(lambda cell: cell.questions)
    session.interrupt(second)
    session.answer(first, "")

    assert (await second.ended()).status == "interrupted"


NEVER = 60.0  # a grace period longer than any test: the first step has to suffice
LATE = {
    "a finalizer": "class D:\n    def __del__(self):\n        print('ready')\n        while True: pass\nD()\nwhile True: pass",
    "a finalizer, awaiting": "class D:\n    def __del__(self):\n        print('ready')\n        while True: pass\nD()\nawait asyncio.sleep(3600)",
    "a task of the cell's that spins": "async def spin():\n    print('ready')\n    while True: pass\nawait asyncio.gather(spin(), asyncio.sleep(3600))",
    "a task of the cell's that blocks": "async def block():\n    print('ready')\n    time.sleep(3600)\nawait asyncio.create_task(block())",
    "a callback of the cell's that spins": "def spin():\n    print('ready')\n    while True: pass\nasyncio.get_running_loop().call_soon(spin)\nawait asyncio.sleep(3600)",
    "a callback under asyncio.run": "async def main():\n    def spin():\n        print('ready')\n        while True: pass\n    asyncio.get_running_loop().call_soon(spin)\n    await asyncio.sleep(3600)\nasyncio.run(main())",
}


@pytest.mark.parametrize("background", ["", BACKGROUND], ids=["alone", "with a background task"])
@pytest.mark.parametrize("code", LATE.values(), ids=LATE.keys())
async def test_the_first_step_is_repeated_if_it_was_not_delivered(start_session, code, background):
    session = await start_session(interrupt_grace=NEVER)
    await session.run(f"import asyncio, time\nkept = 1\n{background}")
    cell = await session.submit(code).said("ready")
    session.interrupt(cell)

    assert (await cell.ended()).status == "interrupted"
    assert cell.text == "ready\n"
    assert await session.value("kept") == 1
    if background:
        code = "before = ticks\nwhile ticks == before: await asyncio.sleep(0)\nbackground.done()"
        assert await session.value(code) is False


async def test_run_until_complete_is_cancelled_and_other_tasks_continue(session):
    await session.run(f"{BACKGROUND}\nended = []")
    cell = await session.submit(
        "async def main():\n    try:\n        print('ready')\n        await asyncio.sleep(3600)\n    finally: ended.append(1)\n"
        "asyncio.get_event_loop().run_until_complete(main())"
    ).said("ready")
    session.interrupt(cell)
    await cell.ended()

    assert (cell.status, cell.error.ename) == ("interrupted", "KeyboardInterrupt")
    left = await session.value("await asyncio.sleep(0)\n(ended, background.done(), len(asyncio.all_tasks()))")
    assert left == ([1], False, 2)


async def test_a_background_task_that_yields_to_the_loop_survives_the_second_step(start_session):
    session = await start_session(interrupt_grace=0.05)
    await session.run(
        "import asyncio, time\nasync def busy():\n    while True:\n        until = time.monotonic() + 0.002\n"
        "        while time.monotonic() < until: pass\n        await asyncio.sleep(0)\nbackground = asyncio.create_task(busy())"
    )
    cell = await session.submit(
        "print('ready')\nfor _ in range(20):\n    try: await asyncio.sleep(3600)\n    except BaseException: pass"
    ).said("ready")
    session.interrupt(cell)
    await cell.ended()

    assert await session.value("background.done()") is False


async def test_an_interrupt_of_a_queued_cell_never_disturbs_the_tasks_of_the_running_one(start_session):
    session = await start_session(interrupt_grace=0.05)
    await session.run("import asyncio, time")
    running = await session.submit(
        "async def busy():\n    until = time.monotonic() + 0.3\n    while time.monotonic() < until: pass\n    return 'undisturbed'\n"
        "print('ready')\nawait asyncio.gather(busy())"
    ).said("ready")
    later = session.submit("ran = True")
    session.interrupt(later)
    await later.ended()

    assert running.value == ["undisturbed"]
    assert later.status == "interrupted"


@pytest.mark.parametrize("method", ["__str__", "__repr__"])
@pytest.mark.parametrize("calls", [1, 2])
async def test_an_exception_whose_text_never_ends_is_interrupted(session, method, calls):
    body = (
        f"calls.append(1)\n        if len(calls) < {calls}: return ''\n        print('ready')\n        while True: pass"
    )
    text = "" if method == "__str__" else "    def __str__(self): return repr(self)\n"
    cell = await session.submit(
        f"calls = []\nclass Endless(Exception):\n{text}    def {method}(self):\n        {body}\nraise Endless"
    ).said("ready")
    session.interrupt(cell)

    assert (await cell.ended()).status == "interrupted"
    assert cell.error.ename == "Endless"
    assert await session.value("'next'") == "next"
