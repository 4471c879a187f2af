"""Errors of cells: tracebacks show the user's lines, notes and causes, and no frames of the engine."""

import linecache
import traceback

import pytest

pytestmark = pytest.mark.anyio

MODES = {"simple": "", "blocking": "import time; time.sleep(0)", "await": "import asyncio; await asyncio.sleep(0)"}


@pytest.fixture(params=MODES.values(), ids=MODES.keys())
def first_line(request):
    """Return the first line of a cell that makes it run in one of the three modes."""
    return request.param


def as_python_shows(*cells):
    """Return the traceback of the same cells without the engine. The underlined parts depend on the Python version."""
    names = {"__name__": "__main__"}
    for number, code in enumerate(cells, start=1):
        lines = f"{code}\n".splitlines(keepends=True)
        linecache.cache[f"<cell {number}>"] = (len(code), None, lines, f"<cell {number}>")
    try:
        for number, code in enumerate(cells, start=1):
            exec(compile(code, f"<cell {number}>", "exec"), names)  # noqa: S102
    except ZeroDivisionError as exc:
        return "".join(traceback.format_exception(exc.with_traceback(exc.__traceback__.tb_next)))
    finally:
        for number, _ in enumerate(cells, start=1):
            del linecache.cache[f"<cell {number}>"]


async def test_a_traceback_shows_the_users_lines_and_nothing_of_the_engine(session, first_line):
    await session.run("def f(x):\n    return 1 / x")
    cell = await session.run(f"{first_line}\nf(0)")

    assert cell.error.traceback == as_python_shows("def f(x):\n    return 1 / x", "\nf(0)")
    assert '  File "<cell 1>", line 2, in f\n    return 1 / x\n           ~~^~~\n' in cell.error.traceback
    assert (cell.error.ename, cell.error.evalue, cell.status) == ("ZeroDivisionError", "division by zero", "failed")


async def test_a_chained_exception_shows_its_cause(session, first_line):
    cell = await session.run(
        f"{first_line}\ntry: 1 / 0\nexcept ZeroDivisionError as e: raise ValueError('outer') from e"
    )
    trace = cell.error.traceback

    assert (
        trace.index("ZeroDivisionError: division by zero")
        < trace.index("direct cause")
        < trace.index("ValueError: outer")
    )
    assert "skep_workers" not in trace


async def test_an_exception_in_a_handler_shows_its_context(session, first_line):
    cell = await session.run(f"{first_line}\ntry: 1 / 0\nexcept ZeroDivisionError: raise ValueError('second')")

    assert "During handling of the above exception, another exception occurred:" in cell.error.traceback
    assert "skep_workers" not in cell.error.traceback


async def test_a_suppressed_context_is_not_shown(session):
    cell = await session.run("try: 1 / 0\nexcept ZeroDivisionError: raise ValueError('only') from None")

    assert "ZeroDivisionError: division" not in cell.error.traceback


async def test_notes_are_shown_below_their_exception(session, first_line):
    cell = await session.run(
        f"{first_line}\ne = ValueError('v')\ne.add_note('note one')\ne.add_note('note two')\nraise e"
    )

    assert cell.error.traceback.endswith("ValueError: v\nnote one\nnote two\n")
    assert cell.error.evalue == "v"


async def test_an_exception_group_shows_every_exception(session, first_line):
    cell = await session.run(
        f"{first_line}\nraise ExceptionGroup('several', [ValueError('a'), ExceptionGroup('inner', [KeyError('b')])])"
    )

    assert cell.error.ename == "ExceptionGroup"
    assert all(
        text in cell.error.traceback for text in ("several (2 sub-exceptions)", "ValueError: a", "KeyError: 'b'")
    )
    assert "skep_workers" not in cell.error.traceback


async def test_a_task_group_shows_the_exceptions_of_its_tasks(session):
    cell = await session.run(
        "import asyncio\nasync def fail(n): raise ValueError(n)\n"
        "async with asyncio.TaskGroup() as group:\n    for n in range(2): group.create_task(fail(n))"
    )

    assert cell.error.ename == "ExceptionGroup"
    assert "ValueError: 0" in cell.error.traceback
    assert "skep_workers" not in cell.error.traceback


async def test_except_star_splits_a_group(session):
    code = "try: raise ExceptionGroup('g', [ValueError('a'), KeyError('b')])\nexcept* ValueError as group: x = len(group.exceptions)\nexcept* KeyError: y = 'k'\n(x, y)"

    assert await session.value(code) == (1, "k")


async def test_the_line_of_an_error_in_a_long_cell_is_right(session, first_line):
    filler = "\n" * 500
    cell = await session.run(f"{first_line}{filler}1 / 0")

    assert 'File "<cell 1>", line 501, in <module>' in cell.error.traceback


async def test_a_json_error_shows_the_line_of_the_cell(session):
    cell = await session.run("import json\njson.loads('{')")

    assert cell.error.ename == "JSONDecodeError"
    assert 'File "<cell 1>", line 2, in <module>\n    json.loads' in cell.error.traceback


async def test_an_exception_class_of_a_cell_is_named_without_a_module(session):
    cell = await session.run("class MyError(Exception): pass\nraise MyError('mine')")

    assert cell.error.ename == "MyError"
    assert cell.error.traceback.endswith("MyError: mine\n")


@pytest.mark.parametrize(
    ("body", "evalue"),
    [
        ("raise ValueError", "<str() of it raised ValueError>"),
        ("raise SystemExit", "<str() of it raised SystemExit>"),
        ("return 5", "<str() of it raised TypeError>"),
        ("return 'x' * 20_000_000", "x" * 4096),
    ],
)
async def test_an_exception_whose_text_can_not_be_made_is_still_shown(session, body, evalue):
    cell = await session.run(f"class Bad(Exception):\n    def __str__(self): {body}\nraise Bad")

    assert (cell.status, cell.error.ename) == ("failed", "Bad")
    assert cell.error.evalue.startswith(evalue)
    assert len(cell.error.traceback) < 300_000
    assert await session.value("1") == 1


@pytest.mark.parametrize("notes", ["5", "[5]", "[Bad()]"])
async def test_notes_that_are_not_text_are_still_shown(session, notes):
    cell = await session.run(
        f"class Bad:\n    def __str__(self): raise SystemExit\ne = ValueError('v')\ne.__notes__ = {notes}\nraise e"
    )

    assert (cell.status, cell.error.ename) == ("failed", "ValueError")
    assert await session.value("1") == 1


async def test_endless_recursion_is_an_ordinary_error(session):
    cell = await session.run("def f(): f()\nf()")

    assert cell.error.ename == "RecursionError"
    assert "repeated" in cell.error.traceback
    assert await session.value("1") == 1


async def test_an_endless_chain_of_causes_is_still_shown(session):
    cell = await session.run("a, b = ValueError('a'), ValueError('b')\na.__cause__, b.__cause__ = b, a\nraise a")

    assert (cell.status, cell.error.ename) == ("failed", "ValueError")


@pytest.mark.parametrize(
    "code", ["import sys\nsys.exit(3)", "exit(3)", "quit()", "raise SystemExit('bye')", "raise KeyboardInterrupt"]
)
async def test_exit_ends_the_cell_and_not_the_session(session, code, first_line):
    cell = await session.run(f"kept = 1\n{first_line}\n{code}\nprint('not reached')")

    assert (cell.status, cell.text) == ("failed", "")
    assert cell.error.ename in {"SystemExit", "KeyboardInterrupt"}
    assert await session.value("kept") == 1


@pytest.mark.parametrize("code", ["exit()", "quit()", "import sys\nsys.exit()", "raise SystemExit"])
async def test_exit_without_a_status_shows_none(session, code):
    error = (await session.run(code)).error

    assert (error.ename, error.evalue) == ("SystemExit", "")
    assert error.traceback.endswith("\nSystemExit\n")


async def test_stop_iteration_is_reported_as_itself(session):
    cell = await session.run("next(iter([]))")

    assert cell.error.ename == "StopIteration"


async def test_a_cancelled_error_without_a_cancel_is_a_failure(session):
    cell = await session.run("import asyncio\nraise asyncio.CancelledError('mine')")

    assert (cell.status, cell.error.ename) == ("failed", "CancelledError")


async def test_a_cell_that_cancels_its_own_task_fails_and_the_session_continues(session):
    cell = await session.run("import asyncio\nasyncio.current_task().cancel()\nawait asyncio.sleep(3600)")

    assert (cell.status, cell.error.ename) == ("failed", "CancelledError")
    assert await session.value("1") == 1


async def test_a_cell_that_cancels_every_task_fails_and_the_session_continues(session):
    await session.run("import asyncio\ntask = asyncio.create_task(asyncio.sleep(3600))")
    cell = await session.run("for each in asyncio.all_tasks(): each.cancel()\nawait asyncio.sleep(3600)")

    assert (cell.status, cell.error.ename) == ("failed", "CancelledError")
    assert await session.value("task.cancelled()") is True


SOURCES = {
    "function": ("def f(a):\n    return a  # inside", "f"),
    "async function": ("async def f(a):\n    return a  # inside", "f"),
    "class": ("class C:\n    def m(self):\n        pass  # inside", "C"),
    "method": ("class C:\n    def m(self):\n        pass  # inside", "C.m"),
    "class without methods": ("class D:\n    x = 1  # inside", "D"),
    "dataclass": ("import dataclasses\n@dataclasses.dataclass\nclass P:\n    x: int = 0  # inside", "P"),
    "decorated function": ("import functools\n@functools.cache\ndef g(a):\n    return a  # inside", "g"),
}


@pytest.mark.parametrize(("code", "name"), SOURCES.values(), ids=SOURCES.keys())
async def test_inspect_finds_the_source_of_a(session, code, name):
    await session.run(code)

    assert "# inside" in await session.value(f"import inspect\ninspect.getsource({name})")


async def test_the_source_of_a_class_defined_again_is_the_latest(session):
    await session.run("class C:\n    x = 'first'")
    await session.run("class C:\n    x = 'second'")

    assert "second" in await session.value("import inspect\ninspect.getsource(C)")


async def test_the_source_of_a_class_belongs_to_the_class_of_that_name(session):
    await session.run("class Point:\n    x = 1\ndef outer():\n    class Inner:\n        y = 2\n    return Inner")
    await session.run("class PointCloud:\n    n = 3\nclass Inner:\n    z = 3")
    await session.run("text = '''\nclass Point is only in a text here\n'''")

    sources = await session.value("import inspect\n[inspect.getsource(each) for each in (Point, outer(), Inner)]")

    assert [source.split() for source in sources] == [
        ["class", "Point:", "x", "=", "1"],
        ["class", "Inner:", "y", "=", "2"],
        ["class", "Inner:", "z", "=", "3"],
    ]


async def test_the_stored_sources_of_past_cells_are_bounded(session):
    held = "[int(name[6:-1]) for name in linecache.cache if name.startswith('<cell ')]"
    await session.run("def first(): pass")
    await session.run(
        "import inspect, linecache, skep_workers.session.errors.sources as sources\nsources.MOST_PLAIN = 5"
    )
    for number in range(8):
        await session.run(f"x = {number}")
    assert await session.value(held) == [1, 6, 7, 8, 9, 10, 11]

    await session.run("sources.MOST_BYTES = 200")
    for number in range(8):
        await session.run(f"def last(): return {number:60}")

    assert await session.value(held) == [7, 8, 9, 10, 12, 20, 21]
    assert "7\n" in await session.value("inspect.getsource(last)")


async def test_inspect_treats_cells_as_files(session):
    assert await session.value(
        "import inspect\ndef f(): pass\n(inspect.getsourcefile(f), inspect.getsourcelines(f)[1])"
    ) == ("<cell 1>", 2)


async def test_a_repeated_cell_is_shown_under_its_own_number(session):
    code = "def fail():\n    class Inner:\n        def method(self): 1 / 0\n    Inner().method()\nfail()"
    await session.run(code)
    error = (await session.run(code)).error

    assert error.traceback.count('File "<cell 2>"') == 3
    assert "<cell 1>" not in error.traceback
    assert await session.value("import inspect; inspect.getsource(fail)") == code.rpartition("\n")[0] + "\n"


async def test_a_traceback_of_exec_has_no_line_that_is_not_the_cells(session):
    cell = await session.run("exec('1 / 0')")

    assert cell.error.traceback.endswith(
        '  File "<string>", line 1, in <module>\nZeroDivisionError: division by zero\n'
    )
    assert "skep" not in cell.error.traceback
