"""SIGINT that user code sends itself: KeyboardInterrupt in the cell, distinct from the interrupts of clients."""

import pytest

pytestmark = pytest.mark.anyio

IMPORTS = "import _thread, asyncio, os, signal, subprocess, sys, threading, time\n"
WAYS = {
    "raise_signal": "signal.raise_signal(signal.SIGINT)",
    "os.kill": "os.kill(os.getpid(), signal.SIGINT)",
    "pthread_kill": "signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)",
    "interrupt_main": "_thread.interrupt_main()",
    "thread with interrupt_main": "threading.Thread(target=_thread.interrupt_main).start()",
    "thread with os.kill": "threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()",
    "child": "child = subprocess.Popen(['sh', '-c', f'kill -INT {os.getpid()}'])",
    "forked child": "if not os.fork():\n    os.kill(os.getppid(), signal.SIGINT)\n    os._exit(0)",
}
WAITS = {
    "sleeping": "time.sleep(3600)",
    "spinning": "while True: pass",
    "awaiting": "await asyncio.sleep(3600)",
    "awaiting tasks": "await asyncio.gather(*[asyncio.sleep(3600) for _ in range(10)])",
    "asyncio.run": "async def main(): await asyncio.sleep(3600)\nasyncio.run(main())",
    "run_until_complete": "asyncio.get_event_loop().run_until_complete(asyncio.sleep(3600))",
    "waiting for a lock": "threading.Event().wait()",
    "input": "input()",
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
async def test_an_own_sigint_raises_keyboard_interrupt(session, way, wait):
    await session.run(f"{IMPORTS}kept = [1]")
    cell = await session.run(f"{way}\n{wait}")

    assert (cell.status, cell.error.ename) == ("failed", "KeyboardInterrupt"), cell.error.traceback
    assert "skep_workers" not in cell.error.traceback
    assert await session.value("kept") == [1]


async def test_an_own_sigint_can_be_caught_each_time(session):
    code = f"{IMPORTS}caught = 0\nfor _ in range(50):\n    try:\n        signal.raise_signal(signal.SIGINT)\n        print('not raised')\n    except KeyboardInterrupt: caught += 1\ncaught"

    assert (await session.run(code)).value == 50


async def test_an_own_sigint_is_raised_in_code_that_shows_a_value(session):
    cell = await session.run(
        f"{IMPORTS}class Slow:\n    def __repr__(self):\n        signal.raise_signal(signal.SIGINT)\n        return 'shown'\nSlow()"
    )

    assert (cell.status, cell.error.ename) == ("failed", "KeyboardInterrupt")


async def test_a_handler_of_user_code_is_called_instead(session):
    await session.run(
        f"{IMPORTS}signal.signal(signal.SIGINT, lambda number, frame: print('handled', number, frame is not None))"
    )

    assert await session.text("signal.raise_signal(signal.SIGINT)\nprint('on')") == "handled 2 True\non\n"
    assert await session.text("os.kill(os.getpid(), signal.SIGINT)\nawait asyncio.sleep(0)") == "handled 2 True\n"


async def test_the_default_handler_set_again_works_as_before(start_session):
    session = await start_session(interrupt_grace=60.0)
    await session.run(
        f"{IMPORTS}signal.signal(signal.SIGINT, lambda *_: None)\nsignal.signal(signal.SIGINT, signal.default_int_handler)"
    )
    own = await session.run("threading.Thread(target=_thread.interrupt_main).start()\nawait asyncio.sleep(3600)")
    cell = await session.submit("print('ready')\nawait asyncio.sleep(3600)").said("ready")
    session.interrupt(cell)
    await cell.ended()

    assert (own.status, own.error.ename, cell.status) == ("failed", "KeyboardInterrupt", "interrupted")
    assert (await session.run("signal.default_int_handler(signal.SIGINT, None)")).error.ename == "KeyboardInterrupt"


async def test_an_own_sigint_is_raised_in_the_cell_after_an_interrupted_one(session):
    cell = await session.submit(f"{IMPORTS}print('ready')\ntime.sleep(3600)").said("ready")
    session.interrupt(cell)
    await cell.ended()
    after = await session.run("signal.raise_signal(signal.SIGINT)")

    assert (cell.status, after.status, after.error.ename) == ("interrupted", "failed", "KeyboardInterrupt")


@pytest.mark.parametrize("handler", ["", "signal.signal(signal.SIGINT, signal.default_int_handler)\n"], ids=["", "set"])
async def test_a_flood_leaves_every_cell_an_outcome_and_the_session_usable(session, handler):
    await session.run(
        f"{IMPORTS}{handler}calm = threading.Event()\n"
        "def flood():\n    while not calm.is_set(): os.kill(os.getpid(), signal.SIGINT)\n"
        "thread = threading.Thread(target=flood)\nthread.start()"
    )
    waits = [*WAITS.values(), "print('text')", "1", "1 / 0", "[str(i) for i in range(1000)]"]
    for cell in session.submit_all(*waits, *waits):
        assert (await cell.ended()).status in {"finished", "failed"}
    while (await session.run("calm.set()\nthread.join()")).status != "finished":  # the last SIGINT may arrive here
        pass

    assert await session.value("1 + 1") == 2


async def test_a_task_that_sends_a_great_many_ends_the_cell_that_awaits_it(session):
    cell = await session.run(
        f"{IMPORTS}async def send():\n    for _ in range(10000): os.kill(os.getpid(), signal.SIGINT)\n    print('sent')\n"
        "await asyncio.gather(send(), asyncio.sleep(3600))"
    )

    assert (cell.status, cell.error.ename, cell.text) == ("failed", "KeyboardInterrupt", "sent\n")
    assert await session.value("await asyncio.sleep(0)\nlen(asyncio.all_tasks())") == 1


async def test_an_interrupt_ends_a_cell_that_catches_its_own(start_session):
    session = await start_session(interrupt_grace=0.1)
    cell = await session.submit(
        f"{IMPORTS}print('ready')\nwhile True:\n    try: signal.raise_signal(signal.SIGINT)\n    except KeyboardInterrupt: pass"
    ).said("ready")
    session.interrupt(cell)

    assert (await cell.ended()).status == "interrupted"
    assert await session.value("1") == 1


async def test_an_own_sigint_between_cells_is_dropped(session):
    await session.run(f"{IMPORTS}parent = os.getpid()")
    await session.run(
        "code = f'import os, sys; sys.stdin.read(1); os.kill({parent}, 2)'\n"
        "child = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE)\n"
        "async def later():\n    child.stdin.close()\n    while child.poll() is None: await asyncio.sleep(0.01)\n"
        "    print('sent')\nasyncio.get_running_loop().create_task(later())"
    )
    await session.cells[2].said("sent")

    assert await session.value("child.returncode") == 0


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
async def test_a_cell_that_awaits_can_catch_it_there(session, way):
    code = f"try:\n    {way if chr(10) not in way else 'signal.raise_signal(2)'}\n    await asyncio.sleep(3600)\nexcept KeyboardInterrupt: caught = True\nawait asyncio.sleep(0)\ncaught"
    await session.run(IMPORTS)

    assert await session.value(code) is True
