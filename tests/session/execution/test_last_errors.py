"""`sys.last_value` and related names after a failed cell: without frames of the engine, until the next failure."""

import sys

import pytest

pytestmark = pytest.mark.anyio

LAST = "sys.last_type.__name__, str(sys.last_value), sys.last_value is _exception, sys.last_traceback is _exception.__traceback__"
FAILURES = {
    "plain": ("1 / 0", ["<module>"]),
    "blocking": ("import time\ntime.sleep(0)\n1 / 0", ["<module>"]),
    "awaiting": ("await asyncio.sleep(0)\n1 / 0", ["<module>"]),
    "in a function": ("def f(): 1 / 0\nf()", ["<module>", "f"]),
    "in a task": ("async def f(): 1 / 0\nawait asyncio.create_task(f())", ["<module>", "f"]),
    "in a value's text": ("class C:\n    def __del__(self): pass\n    @property\n    def x(self): 1 / 0\nC().x", ["<module>", "x"]),
}  # fmt: skip


@pytest.mark.parametrize(("code", "frames"), FAILURES.values(), ids=FAILURES.keys())
async def test_the_error_of_a_failed_cell_is_stored(session, code, frames):
    await session.run("import asyncio, sys, traceback")
    await session.run(code)

    assert await session.value(LAST) == ("ZeroDivisionError", "division by zero", True, True)
    assert await session.value("[each.name for each in traceback.extract_tb(sys.last_traceback)]") == frames
    assert await session.value("getattr(sys, 'last_exc', None) is sys.last_value") is (sys.version_info >= (3, 12))


async def test_the_stored_traceback_has_no_frames_of_the_engine(start_session):
    session = await start_session(allow_input=False)
    await session.run("import sys, traceback")
    cell = await session.run("input()")

    assert await session.value("[each.name for each in traceback.extract_tb(sys.last_traceback)]") == ["<module>"]
    assert cell.error.traceback.count("File") == 1


async def test_source_that_does_not_compile_is_the_latest_error(session):
    await session.run("x = = 1")

    assert await session.value("import sys\nsys.last_type.__name__, sys.last_traceback") == ("SyntaxError", None)


async def test_exit_is_not_stored_as_an_error(session):
    await session.run("1 / 0")
    await session.run("raise SystemExit(3)")

    assert await session.value("import sys\nsys.last_type.__name__") == "ZeroDivisionError"


async def test_the_error_of_an_interrupted_cell_is_stored(session):
    cell = await session.submit("import time\nprint('ready')\ntime.sleep(3600)").said("ready")
    session.interrupt(cell)
    await cell.ended()

    assert await session.value("import sys\nsys.last_type.__name__") == "KeyboardInterrupt"


async def test_the_next_failure_frees_the_objects_of_the_previous_one(session):
    await session.run(
        "import weakref\nclass Held: pass\ndef fails():\n    global seen\n    held = Held()\n    seen = weakref.ref(held)\n    1 / 0"
    )
    await session.run("fails()")

    assert await session.value("seen() is not None") is True
    await session.run("[][1]")
    assert await session.value("seen() is None") is True


async def test_an_error_whose_class_rejects_attributes_is_reported(session):
    cell = await session.run(
        "class Shy(Exception):\n    def __setattr__(self, *_): 1 / 0\n    def with_traceback(self, *_): 1 / 0\nraise Shy('away')"
    )

    assert (cell.error.ename, cell.error.evalue) == ("Shy", "away")
