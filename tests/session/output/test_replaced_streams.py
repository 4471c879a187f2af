"""Replacements of sys.stdout and sys.stderr by cells: what each cell prints is in its own output."""

import sys

import pytest

pytestmark = pytest.mark.anyio

REPLACEMENTS = {
    "a wrapper": "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')",
    "a wrapper of the raw stream": "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer.raw, encoding='utf-8')",
    "a detached buffer": "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding='utf-8')",
    "a buffer detached twice": "import io, sys\nsys.stdout = io.TextIOWrapper(io.BufferedWriter(sys.stdout.detach().detach()))",
    "codecs": "import codecs, sys\nsys.stdout = codecs.getwriter('utf-8')(sys.stdout.buffer)",
    "codecs of a detached buffer": "import codecs, sys\nsys.stdout = codecs.getwriter('utf-8')(sys.stdout.detach())",
    "a file of the descriptor": "import sys\nsys.stdout = open(sys.__stdout__.fileno(), 'w', closefd=False)",
    "codecs of the descriptor": "import codecs, sys, os\nsys.stdout = codecs.getwriter('utf-8')(os.fdopen(1, 'wb', closefd=False))",
    "a device": "import sys\nsys.stdout = open('/dev/stdout', 'w')",
    "wrapped twice": "import io, sys\nfor _ in range(2): sys.stdout = io.TextIOWrapper(sys.stdout.buffer)",
    "reconfigured": "import sys\nsys.stdout.reconfigure(encoding='utf-8', line_buffering=True)",
    "one that collects": (
        "import sys\nclass Collecting:\n    parts = []\n    def write(self, text): self.parts.append(text)\n"
        "    def flush(self): sys.__stdout__.write(''.join(self.parts)); self.parts.clear()\nsys.stdout = Collecting()"
    ),
    "a tee": (
        "import io, sys\nclass Tee:\n    def __init__(self, *streams): self.streams = streams\n"
        "    def write(self, text): [each.write(text) for each in self.streams]\n"
        "    def flush(self): [each.flush() for each in self.streams]\n"
        "sys.stdout = Tee(io.TextIOWrapper(sys.stdout.buffer), open('log.txt', 'w'))"
    ),
    "a redirection left open": (
        "import contextlib, io, sys\nredirection = contextlib.redirect_stdout(io.TextIOWrapper(sys.stdout.buffer))\n"
        "_ = redirection.__enter__()"
    ),
}
each_replacement = pytest.mark.parametrize("replacement", REPLACEMENTS.values(), ids=REPLACEMENTS.keys())


@each_replacement
async def test_each_cell_has_its_own_prints(session, replacement):
    codes = [
        f"{replacement}\nprint('one ü')",
        "print('two')",
        "print('three'); 1 / 0",
        "import asyncio\nprint('four')\nawait asyncio.sleep(0)\nprint('five')",
        "import time\nprint('six')\ntime.sleep(0)",
        "sys.stdout = sys.__stdout__\nprint('back')",
    ]
    cells = [await session.run(code) for code in codes]

    assert [cell.text for cell in cells] == ["one ü\n", "two\n", "three\n", "four\nfive\n", "six\n", "back\n"]
    assert [cell.notices for cell in cells] == [[]] * 6


@each_replacement
async def test_captured_output_is_the_cells_own(session, replacement):
    await session.run(replacement)
    cell = await session.run("%%capture out\nprint('inside')")

    assert cell.text == ""
    assert await session.value("out.stdout") == "inside\n"


async def test_stderr_is_flushed_too(session):
    await session.run("import io, sys\nsys.stderr = io.TextIOWrapper(sys.stderr.buffer)")
    cell = await session.run("print('to stderr', file=sys.stderr)")

    assert cell.stderr == "to stderr\n"


async def test_output_of_a_values_repr_belongs_to_the_cell(session):
    await session.run("import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer)")
    cell = await session.run("class Loud:\n    def __repr__(self): print('shown'); return 'loud'\nLoud()")

    assert (cell.text, cell.plain) == ("shown\n", "loud")


async def test_a_stream_that_a_cell_removes_again_is_flushed(session):
    await session.run("import io, sys\nkept = sys.stdout = io.TextIOWrapper(sys.stdout.buffer)")
    cell = await session.run("print('before')\nsys.stdout = sys.__stdout__")

    assert cell.text == "before\n"


async def test_a_cell_that_is_interrupted_keeps_its_prints(session):
    await session.run("import io, sys, time\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer)")
    cell = session.submit("print('printed')\nprint('ready', file=sys.stderr)\ntime.sleep(600)")
    await cell.said("ready")
    session.interrupt(cell)
    await cell.ended()

    assert (cell.status, cell.stdout) == ("interrupted", "printed\n")
    assert (await session.run("print('next')")).text == "next\n"


@pytest.mark.parametrize("raised", ["ValueError('no')", "SystemExit", "OSError(28, 'full')"])
async def test_a_flush_that_raises_fails_no_cell_and_is_reported_once(session, raised):
    await session.run(
        "import sys\nclass Broken:\n    def write(self, text): sys.__stdout__.write(text)\n"
        f"    def flush(self): raise {raised}\nold = sys.stdout"
    )
    cells = [await session.run("sys.stdout = Broken()\nprint('a')\n1"), await session.run("print('b')\n2")]

    assert [(cell.value, cell.text) for cell in cells] == [(1, "a\n"), (2, "b\n")]
    name = raised.partition("(")[0]
    [[notice], []] = [cell.notices for cell in cells]
    assert notice.message == f"what was printed last may be missing: flush of a Broken raised {name}"


async def test_a_flush_that_blocks_delays_no_cell(session):
    await session.run(
        "import sys, threading\ngate = threading.Event()\nclass Waiting:\n"
        "    def write(self, text): sys.__stdout__.write(text)\n    def flush(self): gate.wait()"
    )
    cells = [await session.run("sys.stdout = Waiting()\nprint('a')\n1"), await session.run("print('b')\n2")]

    assert [(cell.value, cell.text) for cell in cells] == [(1, "a\n"), (2, "b\n")]
    assert [len(cell.notices) for cell in cells] == [1, 0]
    assert "takes longer than" in cells[0].notices[0].message
    assert await session.value("gate.set()\n3") == 3


@pytest.mark.parametrize(
    "replacement",
    ["sys.stdout = None", "del sys.stdout", "sys.stdout = object()", "f = open('x', 'w'); f.close(); sys.stdout = f",
     "import io; sys.stdout = io.StringIO()", "sys.stdout = 5"],
)  # fmt: skip
async def test_an_object_that_can_not_be_flushed_breaks_no_cell(session, replacement):
    cells = [await session.run(f"import sys\n{replacement}\n1"), await session.run("2")]

    assert [(cell.value, cell.notices) for cell in cells] == [(1, []), (2, [])]
    assert await session.text("sys.stdout = sys.__stdout__\nprint('back')") == "back\n"


async def test_the_streams_have_the_methods_of_real_ones(session):
    code = (
        "import sys\n[[s.line_buffering, s.write_through, s.buffer.raw is s.buffer, s.buffer.mode, s.detach() is s.buffer]"
        " for s in (sys.stdout, sys.stderr)]"
    )

    assert await session.value(code) == [[False, False, True, "wb", True]] * 2
    assert await session.value("sys.stdout.reconfigure(line_buffering=True)\nsys.stdout.line_buffering") is True
    assert (
        await session.text("sys.stdout.buffer.write(b'bytes \\xe2\\x82\\xac\\n'); sys.stdout.buffer.flush()")
        == "bytes €\n"
    )


WRAPPERS = {
    "text": "io.TextIOWrapper(sys.stdout.buffer)",
    "buffered text": "io.TextIOWrapper(io.BufferedWriter(sys.stdout.buffer))",
    "text of another encoding": "io.TextIOWrapper(sys.stdout.buffer, encoding='ascii', errors='replace')",
}


@pytest.mark.parametrize("made", WRAPPERS.values(), ids=WRAPPERS.keys())
async def test_a_wrapper_in_a_variable_is_flushed(session, made):
    cells = [
        await session.run(
            f"import contextlib, io, sys\nkept = {made}\nwith contextlib.redirect_stdout(kept): print('one')"
        ),
        await session.run("kept.write('two\\n') and None"),
        await session.run("print('three', file=kept)\ndel kept"),
        await session.run(
            f"holder = [{made}]\nold, sys.stdout = sys.stdout, holder[0]\nprint('four')\nsys.stdout = old"
        ),
        await session.run("print('five')"),
    ]

    assert [cell.text for cell in cells] == ["one\n", "two\n", "three\n", "four\n", "five\n"]


async def test_a_buffered_stream_of_bytes_is_flushed(session):
    await session.run("import io, sys\nkept = io.BufferedWriter(sys.stdout.buffer)")

    assert (await session.run("kept.write(b'bytes\\n') and None")).text == "bytes\n"


async def test_a_deleted_wrapper_is_forgotten(session):
    await session.run("import io, sys, weakref\nkept = io.TextIOWrapper(sys.stdout.buffer)\nfind = weakref.ref(kept)")

    assert await session.value("del kept\nfind() is None") is True


@pytest.mark.parametrize("end", ["sys.stdout.detach()", "sys.stdout.close()"])
async def test_a_closed_or_detached_wrapper_breaks_no_cell(session, end):
    await session.run("import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer)")
    cells = [
        await session.run(f"print('last')\n{end} and None"),
        await session.run("sys.stdout = sys.__stdout__\nprint('back')"),
    ]

    assert [cell.text for cell in cells] == ["last\n", "back\n"]
    assert [cell.error for cell in cells] == [None, None]


async def test_an_error_of_a_users_own_stream_is_reported_as_python_does(session):
    cell = await session.run(
        "import io\nclass Own(io.RawIOBase):\n    def writable(self): return True\n    def close(self): pass\n"
        "    def write(self, data): raise ValueError('bad data')\n"
        "buffer = io.BufferedWriter(Own())\nbuffer.write(b'x')\ndel buffer"
    )

    # Before Python 3.13 errors of closing a file in its finalizer were silent.
    assert cell.text.count("ValueError: bad data") == (sys.version_info >= (3, 13))
