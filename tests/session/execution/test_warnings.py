"""Warnings are shown once in each cell: those of its code, and those of the compiler."""

import sys

import pytest

pytestmark = pytest.mark.anyio

WARN = "import warnings\nwarnings.warn('look out')"
# Until Python 3.12 this is a DeprecationWarning, which is hidden by default.
SEE_ESCAPES = "import warnings\nwarnings.simplefilter('default')"
KIND = "SyntaxWarning" if sys.version_info >= (3, 12) else "DeprecationWarning"


async def warnings_shown(session, code):
    """Run a cell, and return the number of warnings that it shows."""
    cell = await session.run(code)
    return cell.stderr.count("Warning: ")


async def test_each_cell_shows_its_warnings_again(session):
    texts = [(await session.run(WARN)).stderr for _ in range(3)]

    assert texts == [f"<cell {seq}>:2: UserWarning: look out\n  warnings.warn('look out')\n" for seq in (1, 2, 3)]


@pytest.mark.parametrize(
    "code",
    [
        "import warnings\nfor _ in range(5): warnings.warn('again and again')",
        "import warnings, asyncio\nfor _ in range(5):\n    warnings.warn('awaiting')\n    await asyncio.sleep(0)",
        "import warnings, time\nfor _ in range(5):\n    warnings.warn('blocking')\n    time.sleep(0)",
        "import warnings\nfor _ in range(5): warnings.warn('of whoever called', stacklevel=2)",
        "import warnings, asyncio\nfor _ in range(5): warnings.warn('called', stacklevel=2)\nawait asyncio.sleep(0)",
    ],
    ids=["plain", "await", "blocking", "caller", "awaiting caller"],
)
async def test_a_warning_in_a_loop_is_shown_once_in_each_cell(session, code):
    assert [await warnings_shown(session, code) for _ in range(3)] == [1, 1, 1]


async def test_a_warning_attributed_to_the_caller_of_a_function_is_shown_in_each_cell(session):
    await session.run("import warnings\ndef old(): warnings.warn('old() goes', DeprecationWarning, stacklevel=2)")
    texts = [(await session.run("old()")).stderr for _ in range(2)]

    assert texts == [f"<cell {seq}>:1: DeprecationWarning: old() goes\n  old()\n" for seq in (2, 3)]


async def test_warnings_of_c_code_are_shown_in_each_cell(session):
    await session.run("import numpy as np")

    assert [await warnings_shown(session, "x = np.array([1.0]) / 0") for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("setting", "counts"),
    [
        ("warnings.simplefilter('once')", [1, 0, 0]),
        ("warnings.simplefilter('module')", [1, 0, 0]),
        ("warnings.simplefilter('ignore')", [0, 0, 0]),
        ("warnings.simplefilter('always')", [5, 5, 5]),
        ("warnings.simplefilter('default')", [1, 1, 1]),
        ("warnings.filterwarnings('ignore', message='look')", [0, 0, 0]),
    ],
)
async def test_the_users_filters_keep_their_meaning(session, setting, counts):
    await session.run(f"import warnings\n{setting}")

    assert [await warnings_shown(session, "for _ in range(5): warnings.warn('look out')") for _ in range(3)] == counts


async def test_the_filter_once_also_applies_to_warnings_of_different_lines(session):
    await session.run("import warnings\nwarnings.simplefilter('once')")
    await session.run(WARN)

    assert await warnings_shown(session, "\n\nwarnings.warn('look out')") == 0


async def test_the_filter_error_still_makes_errors(session):
    await session.run("import warnings\nwarnings.simplefilter('error')")

    assert [(await session.run(WARN)).error.ename for _ in range(2)] == ["UserWarning", "UserWarning"]


async def test_a_library_shows_its_warning_once_in_a_session(session, tmp_path):
    (tmp_path / "library.py").write_text("import warnings\ndef f(): warnings.warn('of the library')")
    await session.run("import library")

    assert [await warnings_shown(session, "library.f()") for _ in range(3)] == [1, 0, 0]


async def test_analysing_a_cell_does_not_make_libraries_warn_again(session, tmp_path):
    (tmp_path / "library.py").write_text("import warnings\ndef f(): warnings.warn('of the library')")
    await session.run("import library\nlibrary.f()")
    await session.run("1 is 1")

    assert await warnings_shown(session, "%time library.f()\n'what?'") == 0


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ('x = "\\d+?"', 1),
        ('"\\w"', 1),
        ('y = 1\nz = "\\%"', 2),
        ('"\\d";', 1),
        ('def f():\n    return "\\s!"', 2),
        ('%time x = "\\d"', 1),
        ('%%time\nx = "\\d"', 2),
        ('%%capture --no-stderr\nx = "\\d"', 2),
        ('!true\nx = "\\d"', 2),
        ('import asyncio\nawait asyncio.sleep(0)\n"\\d"', 3),
        ('import asyncio\ndef f(): return await asyncio.sleep(0, "\\d")', 2),
    ],
)
async def test_the_parser_warns_once_each_time_a_cell_runs(session, code, line):
    await session.run(SEE_ESCAPES)
    cells = [await session.run(code) for _ in range(3)]

    for cell in cells:
        assert cell.stderr.count("Warning: ") == 1, cell.stderr
        assert f"<cell {cell.seq}>:{line}: {KIND}: " in cell.stderr
        assert f"\n  {code.splitlines()[line - 1].strip()}\n" in cell.stderr


@pytest.mark.parametrize(
    "code",
    [
        "1 is 1",
        "x = 1\nassert (x, 'always')",
        "f = lambda: 'x'()",
        "try:\n    pass\nfinally:\n    x = 1 is 1",
        "import asyncio\ndef f():\n    assert (1, 2)\n    return await asyncio.sleep(0)",
    ],
)
async def test_the_compiler_warns_once_each_time_a_cell_runs(session, code):
    cells = [await session.run(code) for _ in range(3)]

    for cell in cells:
        assert cell.stderr.count("SyntaxWarning: ") == 1, cell.stderr
        assert f"<cell {cell.seq}>:" in cell.stderr


@pytest.mark.parametrize(
    ("code", "line"), [('y = 1\nx = "\\d?"', 2), ("x = 1\n1 is 1", 2), ("try:\n    pass\nfinally:\n    1 is 1", 4)]
)
async def test_warnings_of_the_compiler_that_are_errors_fail_their_cell_each_time(session, code, line):
    await session.run(code)
    await session.run("import warnings\nwarnings.simplefilter('error')")

    for _ in range(2):
        cell = await session.run(code)
        assert cell.error.ename == "SyntaxError"
        assert (
            f'File "<cell {cell.seq}>", line {line}\n    {code.splitlines()[line - 1].strip()}\n'
            in cell.error.traceback
        )
        assert cell.stderr == ""


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("x = 1\n%timeit -n1 -r1 1 is 1", 2),
        ("%%timeit -n1 -r1\nx = 1\n1 is 1", 3),
        ("# timed\n%%timeit -n1 -r1\n\n1 is 1", 4),
    ],
)
async def test_a_warning_about_timed_code_is_shown_once(session, code, line):
    cell = await session.run(code)

    assert cell.stderr.count("Warning: ") == 1
    assert cell.stderr.startswith(f"<cell 1>:{line}: SyntaxWarning: ")


async def test_timed_code_with_a_warning_that_is_an_error_fails(session):
    await session.run("import warnings\nwarnings.simplefilter('error')")
    cell = await session.run("%timeit -n1 -r1 1 is 1")

    assert (cell.error.ename, cell.stderr) == ("SyntaxError", "")


async def test_filters_that_are_set_later_apply_to_source_that_has_run_before(session):
    assert await warnings_shown(session, "1 is 1") == 1
    await session.run("import warnings\nwarnings.simplefilter('ignore')")
    assert await warnings_shown(session, "1 is 1") == 0
    await session.run("warnings.simplefilter('always')")
    assert await warnings_shown(session, "1 is 1") == 1


async def test_the_filters_of_the_user_are_unchanged_afterwards(session):
    before = await session.value("import warnings\nrepr(warnings.filters)")
    for code in ("1 is 1", '"\\d"', "1 +", "%time 1", "x = 'a?'"):
        await session.run(code)

    assert await session.value("repr(warnings.filters)") == before


@pytest.mark.parametrize("replaced", ["()", "None", "[('ignore',)]"])
async def test_invalid_filters_break_no_cell(session, replaced):
    await session.run(f"import warnings\nkept = warnings.filters\nwarnings.filters = {replaced}")
    await session.run("1 is 1")

    assert await session.value("warnings.filters = kept\n1 + 1") == 2


async def test_a_completeness_check_shows_no_warning(session):
    await session.run("import warnings\nwarnings.simplefilter('always')")
    await session.ask("is_complete", code='x = "\\d"')

    assert (await session.run("1")).stderr == ""


async def test_finding_the_source_of_a_class_shows_no_warning(session):
    await session.run(f"{SEE_ESCAPES}\nclass C:\n    x = 1")
    await session.run("class D:\n    x = '\\d'")
    cell = await session.run("import inspect\ninspect.getsource(C)")

    assert cell.value == "class C:\n    x = 1\n"
    assert cell.stderr == ""
