"""Debuggers that wait in a cell: they can be answered and ended, and leave no trace function and no signal handler."""

import sys

import pytest

pytestmark = pytest.mark.anyio

DEFINITIONS = (
    "import asyncio, bdb, code, pdb, signal, sys, time, traceback\n"
    "handler = signal.getsignal(signal.SIGINT)\n"
    "def stops():\n    x = 5\n    breakpoint()\n    return x + 1\n"
    "def bad(a): return 1 / a\n"
    "class Deeper(pdb.Pdb): pass"
)
STATE = (
    "sys.gettrace(), signal.getsignal(signal.SIGINT) == handler, "
    "[each for each in ('bdb', 'cmd', 'code', 'pdb') if 'KeyboardInterrupt' in vars(sys.modules[each])]"
)
OPEN = {
    "breakpoint": "breakpoint()",
    "breakpoint in a function": "stops()",
    "breakpoint after an await": "await asyncio.sleep(0)\nstops()",
    "breakpoint in a task": "async def task(): stops()\nawait asyncio.create_task(task())",
    "breakpoint in asyncio.run": "async def main(): stops()\nasyncio.run(main())",
    "breakpoint in a loop": "while True: breakpoint()",
    "breakpoint where errors are caught": "while True:\n    try: stops()\n    except Exception: pass",
    "set_trace": "pdb.set_trace()",
    "run": "pdb.run('y = 1')",
    "run that stops again": "pdb.run('stops()')",
    "runcall": "pdb.runcall(bad, 0)",
    "pm": "pdb.pm()",
    "post_mortem": "pdb.post_mortem(_exception.__traceback__)",
    "a class of its own": "Deeper().set_trace()",
    "a console": "code.interact()",
}


async def opened(session, code, **options):
    await session.run(DEFINITIONS)
    await session.run("bad(0)")
    return await session.submit(code, **options).until(lambda cell: cell.questions)


async def answered(session, code, *answers):
    """Run a cell and answer its requests for input, in order."""
    cell = session.submit(code)
    for number, answer in enumerate(answers, start=1):
        await cell.until(lambda cell, number=number: len(cell.questions) >= number)
        session.answer(cell, answer)
    return await cell.ended()


@pytest.mark.parametrize("code", OPEN.values(), ids=OPEN.keys())
async def test_an_interrupt_ends_a_debugger_in_the_first_step(start_session, code):
    session = await start_session(interrupt_grace=60.0)  # longer than the test, so there is no second step
    cell = await opened(session, code)
    session.interrupt(cell)
    await cell.ended()

    assert cell.status == "interrupted"
    assert cell.error.ename in {"KeyboardInterrupt", "CancelledError"}
    assert "--KeyboardInterrupt--" not in cell.text
    assert "skep_workers" not in cell.error.traceback
    assert await session.value(STATE) == (None, True, [])
    assert await session.value("time.sleep(0)\nstops.__name__") == "stops"


@pytest.mark.parametrize("code", OPEN.values(), ids=OPEN.keys())
async def test_a_timeout_ends_a_debugger(start_session, code):
    session = await start_session(interrupt_grace=60.0)
    cell = await opened(session, code, timeout=0.5)

    assert (await cell.ended()).status == "timed_out"
    assert await session.value(STATE) == (None, True, [])


async def test_a_command_that_hangs_in_a_debugger_is_ended_by_the_second_step(start_session):
    session = await start_session(interrupt_grace=0.1)
    cell = await opened(session, "stops()")
    session.answer(cell, "!print('ready'); time.sleep(3600)")
    await cell.said("ready")
    session.interrupt(cell)

    assert (await cell.ended()).status == "interrupted"
    assert await session.value(STATE) == (None, True, [])


async def test_an_interrupt_reaches_code_that_cleans_up(session):
    cell = await opened(session, "try: stops()\nexcept KeyboardInterrupt: print('cleaned up')")
    session.interrupt(cell)

    assert (await cell.ended()).text.endswith("cleaned up\n")


async def test_a_debugger_can_be_answered_and_left(session):
    await session.run(DEFINITIONS)
    cell = await answered(session, "stops()", "p x + 37", "c")

    assert cell.value == 6
    assert "42" in cell.stdout
    assert await session.value(STATE) == (None, True, [])


@pytest.mark.parametrize("step", ["n", "s", "r", "unt"])
@pytest.mark.parametrize(
    "code",
    [
        "stops()\nprint('to the end')",
        "x = stops()\nprint('to the end')\nx",
        "breakpoint()\nprint('to the end')\nbad(0)",
    ],
    ids=["statement", "value", "error"],
)
async def test_a_debugger_steps_to_the_end_of_the_cell_and_no_further(session, step, code):
    await session.run(DEFINITIONS)
    cell = session.submit(code)
    asked = 0
    while cell.done is None:
        await cell.until(lambda cell: cell.done is not None or len(cell.questions) > asked)  # noqa: B023 - awaited here
        if cell.done is None:
            asked += 1
            session.answer(cell, step)

    assert "to the end" in cell.text
    assert "skep_workers" not in cell.text
    assert "/lib/python" not in cell.text  # frames of what the engine has called
    assert await session.value(STATE) == (None, True, [])


@pytest.mark.parametrize(
    "code",
    [
        "stops()",
        "time.sleep(0)\nstops()",
        "await asyncio.sleep(0)\nstops()",
        "async def main(): stops()\nasyncio.run(main())",
        "list(map(lambda _: stops(), [0]))",
    ],
)
async def test_a_debuggers_stack_begins_with_the_cell(session, code):
    await session.run(DEFINITIONS)
    cell = await answered(session, code, "w", "u", "p __name__", "d", "p x + 37", "c")

    assert cell.status == "finished"
    assert "<cell 2>" in cell.stdout
    assert ")stops()\n" in cell.stdout
    assert "\n'__main__'\n" in cell.stdout
    assert "\n42\n" in cell.stdout
    assert "skep_workers" not in cell.stdout


async def test_a_debugger_steps_over_an_await(session):
    await session.run(DEFINITIONS)
    steps = ["n"] * (3 if sys.version_info >= (3, 13) else 2)  # from there on it begins with the breakpoint's own line
    code = "breakpoint()\nawait asyncio.sleep(0.001)\nseen = 1\nx = 2\nprint('on')"
    cell = await answered(session, code, *steps, "p seen", "c")

    assert "\n1\n" in cell.stdout
    assert await session.value(STATE) == (None, True, [])


async def test_a_signal_handler_of_user_code_is_restored(session):
    await session.run(DEFINITIONS + "\nsignal.signal(signal.SIGINT, lambda *_: print('mine'))")
    await answered(session, "stops()", "c")

    assert await session.text("signal.raise_signal(signal.SIGINT)") == "mine\n"


async def test_a_trace_function_of_user_code_remains(session):
    await session.run("import sys\nsys.settrace(lambda *_: None)")

    assert await session.value("sys.gettrace() is not None") is True


async def test_a_debugger_reads_a_replaced_stdin(session):
    await session.run(DEFINITIONS + "\nimport io\nsys.stdin = io.StringIO('p x\\nc\\n')")
    cell = await session.run("stops()")

    assert (cell.value, cell.questions) == (6, [])


async def test_the_latest_error_can_be_debugged(session):
    await session.run(DEFINITIONS)
    await session.run("bad(0)")
    cell = await answered(session, "pdb.pm()", "p a", "w", "q")

    assert "0" in cell.stdout
    assert "<cell 2>(1)<module>()" in cell.stdout
    assert "skep_workers" not in cell.stdout
    # Early releases of Python 3.12 and 3.13 print "NoneType: None" for print_last(), whatever the error was.
    has_last_exc = sys.version_info >= (3, 12)
    cell = await session.run("traceback.print_exception(sys.last_exc)" if has_last_exc else "traceback.print_last()")
    assert cell.stderr.startswith('Traceback (most recent call last):\n  File "<cell 2>", line 1, in <module>\n')
    assert cell.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert "skep_workers" not in cell.stderr
