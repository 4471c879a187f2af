"""Flushed output of a cell is read, completely and once, however its process ends."""

import pytest

pytestmark = pytest.mark.anyio

ENDS = {
    "os._exit": "import os; end = lambda: os._exit(3)",
    "SIGKILL": "import os, signal; end = lambda: os.kill(os.getpid(), signal.SIGKILL)",
    "segfault": "import ctypes; end = lambda: ctypes.string_at(0)",
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("lines", [1, 3, 2_000, 30_000])
async def test_flushed_lines_outlive_the_process(session, end, lines):
    await session.run(ENDS[end])
    outcome = await session.run(f"for i in range({lines}): print(i, flush=True)\nend()")

    assert outcome.status == "crashed"
    printed = "".join(f"{i}\n" for i in range(lines))
    assert outcome.text.partition("Fatal Python error")[0].startswith(printed)
    assert len(outcome.text) == len(printed) or end == "segfault"  # which faulthandler reports on stderr


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("print('a'); print('b', flush=True); end()", "a\nb\n"),
        ("import sys; print('a', flush=True); print('e', file=sys.stderr, flush=True); end()", "a\ne\n"),
        ("print('a', flush=True); os.write(1, b'w\\n'); print('b', flush=True); end()", "a\nw\nb\n"),
        ("print('ä€😀' * 20_000, flush=True); end()", "ä€😀" * 20_000 + "\n"),
        ("await asyncio.sleep(0); print('a', flush=True); end()", "a\n"),
        ("import time; time.sleep(0); print('a', flush=True); end()", "a\n"),
        ("display('d'); print('a', flush=True); end()", "a\n"),
    ],
)
async def test_flushed_text_of_every_kind_outlives_the_process(session, code, text):
    await session.run("import os, asyncio\nend = lambda: os._exit(3)")
    outcome = await session.run(code)

    assert outcome.status == "crashed"
    assert outcome.text == text


async def test_output_that_was_flushed_and_sent_is_read_once(session):
    await session.run("import os")
    cell = await session.submit("for i in range(100): print(i, flush=True)\ninput()\nos._exit(3)")
    async for event in cell.events():
        if event.kind == "input.requested":
            await session.answer("on")
    outcome = await cell.outcome()

    assert outcome.status == "crashed"
    assert outcome.text == "".join(f"{i}\n" for i in range(100))


async def test_output_that_one_cell_flushed_is_not_in_the_next_cell(session):
    await session.run("import os")
    await session.run("for i in range(100): print(i, flush=True)")
    outcome = await session.run("os._exit(3)")

    assert (outcome.status, outcome.text) == ("crashed", "")


async def test_a_process_that_overwrites_the_shared_memory_harms_no_other(session):
    code = (
        "import gc, mmap, os\n"
        "for found in gc.get_objects():\n"
        "    if isinstance(found, mmap.mmap): found[:] = b'\\xff' * len(found)\n"
        "os._exit(3)"
    )
    assert (await session.run(code)).status == "crashed"
    assert (await session.run("1 + 1")).value == 2
