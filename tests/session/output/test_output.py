"""Output: in the order of writing, from every kind of writer; whole, or cut with an event; attributed to its cell."""

import pytest

from skep_shared.protocol.frames import Output

pytestmark = pytest.mark.anyio

WRITERS = """
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None)
def write(kind, text):
    if kind == "print": print(text)
    elif kind == "sys.stdout": sys.stdout.write(text + "\\n")
    elif kind == "sys.stdout.buffer": sys.stdout.buffer.write(text.encode() + b"\\n")
    elif kind == "sys.__stdout__": sys.__stdout__.write(text + "\\n")
    elif kind == "stderr": print(text, file=sys.stderr)
    elif kind == "os.write": os.write(1, text.encode() + b"\\n")
    elif kind == "os.write to stderr": os.write(2, text.encode() + b"\\n")
    elif kind == "C": libc.puts(text.encode()); libc.fflush(None)
    elif kind == "child": subprocess.run(["echo", text])
    elif kind == "child given sys.stdout": subprocess.run(["echo", text], stdout=sys.stdout)
    elif kind == "shell": os.system("echo " + text)
"""

KINDS = ["print", "sys.stdout", "sys.stdout.buffer", "sys.__stdout__", "stderr", "os.write", "os.write to stderr", "C",
         "child", "child given sys.stdout", "shell"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
async def test_output_arrives_from(session, kind):
    await session.run(WRITERS)
    cell = await session.run(f"write({kind!r}, 'text')")

    assert cell.outputs == [("stderr" if "stderr" in kind else "stdout", "text\n")]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "print"])
async def test_output_is_in_the_order_of_writing_between_prints_and(session, kind):
    await session.run(WRITERS)
    cell = await session.run(f"for i in range(5):\n    print('print', i)\n    write({kind!r}, str(i))")

    assert cell.text == "".join(f"print {i}\n{i}\n" for i in range(5))


async def test_output_of_all_kinds_is_in_the_order_of_writing(session):
    await session.run(WRITERS)
    kinds = [kind for kind in KINDS if kind != "os.write to stderr"] * 2
    cell = await session.run(f"for n, kind in enumerate({kinds!r}):\n    write(kind, str(n))\n    print(end='')")

    assert cell.text.split() == [str(number) for number in range(len(kinds))]


@pytest.mark.parametrize("setup", ["", "import time; time.sleep(0)", "import asyncio; await asyncio.sleep(0)"])
async def test_stdout_and_stderr_keep_their_order_in_every_mode(session, setup):
    cell = await session.run(
        f"{setup}\nimport sys\nfor i in range(3):\n    print('o', i)\n    print('e', i, file=sys.stderr)"
    )

    assert cell.outputs == [(stream, f"{stream[3]} {i}\n") for i in range(3) for stream in ("stdout", "stderr")]


async def test_output_before_an_error_arrives(session):
    cell = await session.run("print('before')\n1 / 0")

    assert (cell.text, cell.error.ename) == ("before\n", "ZeroDivisionError")


async def test_output_of_each_cell_is_its_own(session):
    cells = session.submit_all(*[f"import os\nprint('a{i}')\nos.write(1, b'b{i}')" for i in range(20)])
    await cells[-1].ended()

    assert [cell.text for cell in cells] == [f"a{i}\nb{i}" for i in range(20)]


async def test_output_arrives_while_the_cell_runs(session):
    cell = session.submit("print('early')\nprint(input())")
    await cell.said("early\n")
    assert cell.done is None
    await cell.until(lambda cell: cell.questions)
    session.answer(cell, "late")

    assert (await cell.ended()).text == "early\nlate\n"


async def test_many_short_lines_arrive_each_once_in_order(session):
    cell = await session.run("for i in range(20_000): print(i)")

    assert cell.text == "".join(f"{i}\n" for i in range(20_000))


async def test_short_lines_are_sent_in_batches(session):
    cell = await session.run("for i in range(20_000): print(i)")

    assert len(cell.frames) < 20_000  # of 40,000 writes


async def test_one_large_print_arrives_whole(session):
    cell = await session.run("print('x' * 30_000_000)")

    assert (len(cell.text), cell.truncation) == (30_000_001, None)


async def test_a_large_write_of_a_child_arrives_whole(session):
    cell = await session.run("import subprocess\nsubprocess.run(['head', '-c', '5000000', '/dev/zero']).returncode")

    assert (len(cell.text), cell.value) == (5_000_000, 0)


async def test_output_over_the_limit_is_cut_there_with_one_event(start_session):
    session = await start_session(output_limit=1024)
    cell = await session.run("for i in range(1000): print(f'{i:09}')\n'ran on'")

    assert cell.text == "".join(f"{i:09}\n" for i in range(1000))[:1024]
    assert (cell.truncation.limit_bytes, cell.value) == (1024, "ran on")
    kinds = [type(frame).__name__ for frame in cell.frames]
    assert kinds.index("Truncated") == len([kind for kind in kinds if kind == "Output"])


async def test_the_limit_counts_bytes_and_cuts_no_character_in_two(start_session):
    session = await start_session(output_limit=1024)
    cell = await session.run("print('x' + 'ü' * 1000)")

    assert cell.text == "x" + "ü" * 511
    assert cell.truncation is not None


async def test_output_of_exactly_the_limit_is_not_cut(start_session):
    session = await start_session(output_limit=1024)
    cell = await session.run("print('x' * 1023)")

    assert (len(cell.text), cell.truncation) == (1024, None)


async def test_the_limit_holds_for_descriptors_too(start_session):
    session = await start_session(output_limit=1024)
    cell = await session.run("import os\nfor i in range(100): os.write(1, b'x' * 100)")

    assert len(cell.text) == 1024
    assert cell.truncation is not None


async def test_every_cell_has_its_own_limit(start_session):
    session = await start_session(output_limit=1024)
    cells = [await session.run("print('x' * 2000)") for _ in range(3)]

    assert [(len(cell.text), cell.truncation is not None) for cell in cells] == [(1024, True)] * 3


async def test_an_error_after_cut_output_is_whole(start_session):
    session = await start_session(output_limit=1024)
    cell = await session.run("print('x' * 2000)\n1 / 0")

    assert cell.error.ename == "ZeroDivisionError"


async def test_bytes_that_are_no_text_are_replaced(session):
    cell = await session.run("import os\nos.write(1, b'a\\xffb')\nimport sys\nsys.stdout.buffer.write(b'\\xfe')")

    assert cell.text == "a\ufffdb\ufffd"


async def test_a_character_split_between_two_writes_is_whole(session):
    cell = await session.run("import os\nos.write(1, b'\\xc3')\nprint(end='')\nos.write(1, b'\\xbc')")

    assert cell.text == "ü"


async def test_lone_surrogates_and_null_characters_can_be_printed(session):
    assert (await session.run("print('\\ud800', 'a\\0b')")).text == "\\ud800 a\0b\n"


async def test_carriage_returns_are_preserved(session):
    assert await session.text("print('50%\\r100%', end='')") == "50%\r100%"


async def test_print_accepts_all_its_options(session):
    assert await session.text("print('a', 1, sep='-', end='!', flush=True)") == "a-1!"


async def test_streams_have_the_attributes_that_programs_read(session):
    code = "import sys\n[(s.isatty(), s.encoding, s.writable(), s.readable(), s.fileno(), s.closed) for s in (sys.stdout, sys.stderr)]"

    assert await session.value(code) == [
        (False, "utf-8", True, False, 1, False),
        (False, "utf-8", True, False, 2, False),
    ]


async def test_a_write_of_anything_except_text_is_refused(session):
    assert (await session.run("import sys\nsys.stdout.write(b'bytes')")).error.ename == "TypeError"


async def test_text_io_wrapped_around_the_buffer_works(session):
    code = "import io, sys\nout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')\nprint('wrapped ü', file=out)\nout.flush()\nprint('after')\nout.detach() and None"

    assert await session.text(code) == "wrapped ü\nafter\n"


async def test_redirected_output_does_not_leave_the_cell(session):
    code = "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as out: print('inside')\nprint('outside')\nout.getvalue()"
    cell = await session.run(code)

    assert (cell.text, cell.value) == ("outside\n", "inside\n")


async def test_logging_and_warnings_arrive_on_stderr(session):
    cell = await session.run("import logging, warnings\nlogging.warning('logged')\nwarnings.warn('warned')")

    assert "WARNING:root:logged" in cell.stderr
    assert "<cell 1>:3: UserWarning: warned\n  warnings.warn('warned')\n" in cell.stderr
    assert cell.stdout == ""


async def test_a_closed_stdout_descriptor_loses_only_descriptor_writes(session):
    await session.run("import os\nos.close(1)")
    cell = await session.run("print('still here')")

    assert cell.text == "still here\n"


async def test_a_line_that_is_printed_is_one_event(session):
    cells = [await session.run("print('line')") for _ in range(40)]

    whole = [cell for cell in cells if [output.text for output in cell.every(Output)] == ["line\n"]]
    assert len(whole) >= 30  # print() writes the newline separately, and rarely the control thread sends in between


KEEPS_GIL = "import ctypes, sys\nlibc = ctypes.PyDLL(None)\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("length", [100_000, 65_536, 65_537, 1_000_000, 1024 * 1024 - 8])
async def test_c_code_that_keeps_the_gil_may_write_a_mebibyte(session, stream, length):
    fd = 1 if stream == "stdout" else 2
    code = (
        f"{KEEPS_GIL}print('before', file=sys.{stream})\nlibc.write({fd}, b'1' * {length}, {length})\n"
        f"print('after', file=sys.{stream})"
    )
    cell = await session.run(code)

    assert getattr(cell, stream) == "before\n" + "1" * length + "after\n"


async def test_c_codes_own_buffers_that_are_flushed_are_in_place(session):
    await session.run(KEEPS_GIL)
    cells = [
        await session.run("print('before')\nlibc.printf(b'%s\\n', b'1' * 100_000)\nlibc.fflush(None)\nprint('after')"),
        await session.run("print('still here')"),
    ]

    assert [cell.text for cell in cells] == ["before\n" + "1" * 100_000 + "\nafter\n", "still here\n"]


@pytest.mark.parametrize("loads", ["ctypes.PyDLL(None)", "ctypes.CDLL(None)"])
async def test_lines_that_c_code_has_not_flushed_are_in_place(session, loads):
    await session.run(f"import ctypes\nlibc = {loads}")
    cells = [
        await session.run("print('before')\nlibc.printf(b'one\\ntwo\\n')\nprint('after')"),
        await session.run("print('still here')"),
    ]

    assert [cell.text for cell in cells] == ["before\none\ntwo\nafter\n", "still here\n"]


@pytest.mark.parametrize("ends", ["", "\n1 / 0", "\nawait asyncio.sleep(0)"])
async def test_an_incomplete_line_of_c_code_is_output_of_its_cell(session, ends):
    await session.run("import asyncio, ctypes\nlibc = ctypes.CDLL(None)")
    cells = [await session.run("libc.printf(b'50 %%');" + ends), await session.run("print('next')")]

    assert [cell.stdout for cell in cells] == ["50 %", "next\n"]


async def test_a_thread_that_prints_in_c_code_does_not_delay_the_end_of_a_cell(session):
    await session.run(
        "import ctypes, threading\nlibc = ctypes.CDLL(None)\nstdout = ctypes.c_void_p.in_dll(libc, 'stdout')\n"
        "go, held = threading.Event(), threading.Event()\n"
        "def hold(): libc.flockfile(stdout); held.set(); go.wait(); libc.funlockfile(stdout)\n"
    )
    cell = await session.run(
        "libc.printf(b'incomplete')\nthread = threading.Thread(target=hold)\nthread.start()\nheld.wait();"
    )
    later = await session.run("go.set()\nthread.join()")

    assert (cell.stdout, later.stdout) == ("", "incomplete")


async def test_c_code_that_keeps_the_gil_may_write_from_a_thread(session):
    await session.run(f"{KEEPS_GIL}import threading")
    cell = await session.run(
        "t = threading.Thread(target=libc.write, args=(1, b'1' * 500_000, 500_000)); t.start(); t.join()\nprint('after')"
    )

    assert cell.text == "1" * 500_000 + "after\n"


async def test_c_code_may_write_a_mebibyte_in_each_cell(session):
    await session.run(KEEPS_GIL)
    cells = [await session.run("libc.write(1, b'1' * 1_000_000, 1_000_000) and None") for _ in range(3)]

    assert [len(cell.text) for cell in cells] == [1_000_000] * 3
