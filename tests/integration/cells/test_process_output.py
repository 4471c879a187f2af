"""stdout and stderr of a cell: complete and in the order of writing, whatever writes."""

from itertools import groupby
from operator import itemgetter

import pytest

pytestmark = pytest.mark.anyio


async def test_every_way_of_writing_is_in_one_order(session):
    code = r"""
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None)
for round in range(20):
    print("a")
    os.write(1, b"b\n")
    libc.puts(b"c"); libc.fflush(None)
    subprocess.run(["echo", "d"])
    sys.stdout.buffer.write(b"e\n")
    sys.stderr.write("f\n")
    os.write(2, b"g\n")
    sys.stdout.write("h\n")
"""
    assert (await session.run(code)).text == "a\nb\nc\nd\ne\nf\ng\nh\n" * 20


async def test_streams_are_distinguished(session):
    await session.run(
        "import sys, os\nprint('out')\nprint('err', file=sys.stderr)\nos.write(1, b'o\\n')\nos.write(2, b'e\\n')"
    )

    texts = [(event.stream, event.text) async for event in session.events() if event.kind == "output"]
    by_stream = [(stream, "".join(text for _, text in group)) for stream, group in groupby(texts, key=itemgetter(0))]
    assert by_stream == [("stdout", "out\n"), ("stderr", "err\n"), ("stdout", "o\n"), ("stderr", "e\n")]


async def test_a_hundred_thousand_lines_are_complete(session):
    outcome = await session.run("for line in range(100_000): print(line)")

    assert outcome.text == "".join(f"{line}\n" for line in range(100_000))


async def test_a_long_line_is_complete(session):
    assert (await session.run("print('x' * 5_000_000)")).text == "x" * 5_000_000 + "\n"


async def test_lines_of_a_child_process_are_complete(session):
    outcome = await session.run("import subprocess; subprocess.run(['seq', '50000']).returncode")

    assert outcome.value == 0
    assert outcome.text == "".join(f"{line}\n" for line in range(1, 50_001))


async def test_text_that_is_not_utf_8_is_shown_with_replacements(session):
    assert (await session.run("import os; os.write(1, b'a\\xffb\\n')")).text == "a\ufffdb\n"


async def test_characters_cut_between_writes_are_whole(session):
    code = "import os\nfor byte in 'häß€😀\\n'.encode(): os.write(1, bytes([byte]))"

    assert (await session.run(code)).text == "häß€😀\n"


async def test_lone_surrogates_come_escaped(session):
    assert (await session.run("print('a\\udcffb')")).text == "a\\udcffb\n"


async def test_output_comes_while_the_cell_runs(session, first_output, gate):
    cell = await session.submit(f"print('early', end='')\n{gate.wait}")

    assert await first_output(cell) == "early"
    gate.open()
    await cell.outcome()


async def test_output_of_a_task_after_its_cell_belongs_to_that_cell(session):
    starts = "import asyncio\nasync def later():\n    await event.wait()\n    print('late')\nevent = asyncio.Event()\n"
    first = await session.run(f"{starts}task = asyncio.create_task(later())\nawait asyncio.sleep(0)")
    second = await session.run("event.set()\nawait task\nprint('own')")

    texts = {first.cell_id: "", second.cell_id: ""}
    async for event in session.events():
        if event.kind == "output":
            texts[event.cell_id] += event.text
    assert texts == {first.cell_id: "late\n", second.cell_id: "own\n"}


async def test_a_closed_stdout_silences_no_later_cell(session):
    await session.run("import sys; sys.stdout.close()")

    assert (await session.run("print('still here')")).text == "still here\n"


async def test_a_replaced_stdout_is_the_session_s_own_business(session):
    await session.run("import sys, io\nkept, sys.stdout = sys.stdout, io.StringIO()\nprint('hidden')")
    outcome = await session.run("text = sys.stdout.getvalue(); sys.stdout = kept; print('shown'); text")

    assert (outcome.text, outcome.value) == ("shown\n", "hidden\n")


async def test_a_closed_descriptor_1_ends_no_session(session):
    await session.run("import os; os.close(1)")

    assert (await session.run("print('python still writes'); 1")).value == 1
