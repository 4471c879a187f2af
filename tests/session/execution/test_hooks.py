"""Hooks that cells set for values, errors and input, and the reports of uncaught exceptions."""

import pytest

pytestmark = pytest.mark.anyio

# --- sys.displayhook ----------------------------------------------------------------------------------------------------


async def test_a_displayhook_of_a_cell_shows_the_last_values(session):
    await session.run("import sys\nsys.displayhook = lambda value: print('shown', value)")
    cell = await session.run("1 + 1")

    assert (cell.text, cell.result) == ("shown 2\n", None)
    assert await session.text("None") == "shown None\n"
    assert await session.text("x = 1") == ""
    assert await session.text("1;") == ""
    assert await session.text("import asyncio\nawait asyncio.sleep(0, 5)") == "shown 5\n"
    assert await session.text("import time\ntime.sleep(0)\n6") == "shown 6\n"
    assert (await session.run("'_' in globals()")).text == "shown False\n"


async def test_a_displayhook_that_calls_the_original_shows_the_value_as_the_cells_result(session):
    await session.run("import sys\nbefore = sys.displayhook\nsys.displayhook = lambda value: before(value * 2)")
    cell = await session.run("21")

    assert (cell.value, cell.plain, cell.text) == (42, "42", "")
    await session.run("sys.displayhook = before")
    assert await session.value("_") == 42


async def test_a_displayhook_that_passes_on_more_values_shows_all_of_them(session):
    await session.run(
        "import sys\nbefore = sys.displayhook\ndef twice(value):\n    before(value)\n    before('again')\nsys.displayhook = twice"
    )
    cell = await session.run("1")

    assert cell.value == 1
    assert [each.bundle["text/plain"] for each in cell.displays] == ["'again'"]


async def test_a_cell_can_call_the_sessions_displayhook(session):
    cell = await session.run("import sys\nsys.displayhook([1])\nsys.displayhook(None)\n2")

    assert [each.bundle["text/plain"] for each in cell.displays] == ["[1]"]
    assert cell.value == 2
    assert await session.value("_, __") == (2, [1])


async def test_pythons_original_displayhook_prints_and_binds_the_result(session):
    await session.run("import sys\nsys.displayhook = lambda value: sys.__displayhook__(value)")

    assert await session.text("5") == "5\n"
    assert await session.text("_ + 1") == "6\n"
    await session.run("sys.displayhook = sys.__displayhook__")
    assert await session.value("_ + 1") == 7


@pytest.mark.parametrize("hook", ["None", "5", "sys.__displayhook__"])
async def test_a_displayhook_that_is_not_callable_is_ignored(session, hook):
    await session.run(f"import sys\nsys.displayhook = {hook}")

    assert await session.value("1 + 1") == 2


async def test_a_displayhook_that_raises_fails_the_cell(session):
    await session.run("import sys\ndef hook(value):\n    raise LookupError(value)\nsys.displayhook = hook")
    cell = await session.run("'away'")

    assert (cell.status, cell.error.ename, cell.error.evalue) == ("failed", "LookupError", "away")
    assert 'File "<cell 1>", line 3, in hook' in cell.error.traceback
    assert "skep_workers" not in cell.error.traceback


async def test_doctests_print_what_they_compare(session):
    assert (
        await session.value(
            "import doctest\ndef f():\n    '''\n    >>> 1 + 1\n    2\n    >>> 1 + 2\n    4\n    '''\n"
            "runner = doctest.DocTestRunner(verbose=False)\n"
            "for test in doctest.DocTestFinder().find(f, 'f'): runner.run(test, out=lambda _: None)\n"
            "tuple(runner.summarize(verbose=False))[:2]"
        )
        == (1, 2)
    )  # fmt: skip


# --- sys.excepthook -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    ["1 / 0", "import time\ntime.sleep(0)\n1 / 0", "import asyncio\nawait asyncio.sleep(0)\n1 / 0"],
    ids=["plain", "blocking", "awaiting"],
)
async def test_an_excepthook_of_a_cell_is_called_and_the_error_is_still_reported(session, code):
    await session.run(
        "import sys, traceback\ndef hook(kind, value, trace):\n"
        "    print('hook', kind.__name__, value, [each.name for each in traceback.extract_tb(trace)])\nsys.excepthook = hook"
    )
    cell = await session.run(code)

    assert cell.text == "hook ZeroDivisionError division by zero ['<module>']\n"
    assert (cell.status, cell.error.ename) == ("failed", "ZeroDivisionError")


async def test_the_excepthook_is_called_for_source_that_does_not_compile(session):
    await session.run("import sys\nsys.excepthook = lambda *given: print('hook', given[0].__name__, given[2])")
    cell = await session.run("x = = 1")

    assert (cell.text, cell.error.ename) == ("hook SyntaxError None\n", "SyntaxError")


async def test_the_excepthook_is_not_called_for_exit(session):
    await session.run("import sys\nsys.excepthook = lambda *_: print('hook')")
    cell = await session.run("raise SystemExit(3)")

    assert (cell.text, cell.error.ename) == ("", "SystemExit")


@pytest.mark.parametrize(
    "hook",
    [
        "lambda: None",
        "lambda *_: [][1]",
        "lambda *_: sys.exit(3)",
        "lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)",
        "None",
    ],
)
async def test_a_broken_excepthook_does_not_break_the_outcome(session, hook):
    await session.run(f"import sys\nsys.excepthook = {hook}")
    cell = await session.run("1 / 0")

    assert (cell.status, cell.error.ename, cell.error.evalue) == ("failed", "ZeroDivisionError", "division by zero")
    assert "During handling" not in cell.stderr
    assert await session.value("1") == 1


async def test_the_error_of_an_excepthook_is_reported(session):
    await session.run("import sys\ndef hook(*_): raise LookupError('broken')\nsys.excepthook = hook")
    cell = await session.run("1 / 0")

    assert cell.stderr.startswith('Error in sys.excepthook:\nTraceback (most recent call last):\n  File "<cell 1>"')
    assert cell.stderr.endswith("LookupError: broken\n")


async def test_an_excepthook_that_never_ends_is_interrupted(session):
    await session.run(
        "import sys, time\ndef hook(*_):\n    print('ready')\n    time.sleep(3600)\nsys.excepthook = hook"
    )
    cell = await session.submit("1 / 0").said("ready")
    session.interrupt(cell)
    await cell.ended()

    assert (cell.status, cell.error.ename) == ("interrupted", "ZeroDivisionError")


# --- sys.stdin and input ------------------------------------------------------------------------------------------------


async def test_input_reads_a_line_of_a_replaced_stdin(session):
    cell = await session.run(
        "import io, sys\nsys.stdin = io.StringIO('5\\nsix')\nseen = input('number? '), input()\nseen"
    )

    assert (cell.value, cell.stdout, cell.questions) == (("5", "six"), "number? ", [])
    assert (await session.run("input()")).error.ename == "EOFError"


async def test_getpass_reads_a_line_of_a_replaced_stdin(session):
    cell = await session.run("import getpass, io, sys\nsys.stdin = io.StringIO('secret\\n')\ngetpass.getpass('Key: ')")

    assert (cell.value, cell.stderr, cell.questions) == ("secret", "Key: ", [])


async def test_input_reads_a_file_and_asks_again_when_stdin_is_the_sessions_own(session):
    await session.run(
        "import sys\nopen('lines', 'w').write('from the file\\n')\nown, sys.stdin = sys.stdin, open('lines')"
    )

    assert await session.value("input()") == "from the file"
    await session.run("sys.stdin.close()\nsys.stdin = own")
    cell = await session.submit("input('? ')").until(lambda cell: cell.questions)
    session.answer(cell, "from the client")
    assert (await cell.ended()).value == "from the client"


async def test_a_patched_stdin_applies_within_its_block(session):
    code = "import io, unittest.mock\nwith unittest.mock.patch('sys.stdin', io.StringIO('patched\\n')): line = input()\nline"

    assert await session.value(code) == "patched"


async def test_input_without_a_stdin_fails_as_in_python(session):
    cell = await session.run("import sys\nsys.stdin = None\ninput()")

    assert (cell.error.ename, cell.error.evalue) == ("RuntimeError", "input(): lost sys.stdin")


async def test_a_cells_own_input_function_is_called(session):
    await session.run("import builtins\nbuiltins.input = lambda prompt='': f'mine {prompt}'")

    assert await session.value("input('?')") == "mine ?"


# --- uncaught exceptions ------------------------------------------------------------------------------------------------

GENTLE = "class Gone:\n    def __del__(self): raise LookupError('at its end')\n"
UNRAISABLE = {
    "deleted": f"{GENTLE}x = Gone()\ndel x",
    "value that is not shown": f"{GENTLE}Gone();",
    "value that is not shown, awaiting": f"import asyncio\n{GENTLE}await asyncio.sleep(0)\nGone();",
    "in a cycle": f"import gc\n{GENTLE}x = Gone()\nx.me = x\ndel x\ngc.collect()",
    "weak reference": "import weakref\nclass Plain: pass\ndef lost(_): raise LookupError('at its end')\nx = Plain()\nr = weakref.ref(x, lost)\ndel x",
    "from the engine": "import sys\nclass Gone:\n    def __del__(self):\n        try: sys.stdout.write(1)\n        except TypeError: raise LookupError('at its end') from None\nGone();",
}  # fmt: skip


@pytest.mark.parametrize("code", UNRAISABLE.values(), ids=UNRAISABLE.keys())
async def test_an_exception_of_a_finalizer_is_reported_in_its_cell(session, code):
    cell = await session.run(code)

    assert cell.status == "finished"
    assert cell.stderr.startswith("Exception ignored in: ")
    assert cell.stderr.endswith("LookupError: at its end\n")
    assert "skep_workers" not in cell.stderr


@pytest.mark.parametrize("way", ["finalizer", "thread", "task", "callback"])
async def test_reported_exceptions_show_no_frames_of_the_engine(session, way):
    raising = "def raising(): sys.stdout.write(1)\n"
    ways = {
        "finalizer": "class Gone:\n    def __del__(self): raising()\nGone();",
        "thread": "thread = threading.Thread(target=raising)\nthread.start()\nthread.join()",
        "task": "async def work(): raising()\nasyncio.create_task(work())\nawait asyncio.sleep(0.001)\ngc.collect();",
        "callback": "asyncio.get_running_loop().call_soon(raising)\nawait asyncio.sleep(0.001)",
    }
    cell = await session.run(f"import asyncio, gc, sys, threading\n{raising}{ways[way]}")
    await cell.said("TypeError: ")

    assert 'File "<cell 1>", line 2, in raising' in cell.stderr
    assert "skep_workers" not in cell.stderr


@pytest.mark.parametrize("code", ["give()", "give(), 1", "x = give()\ndel x\n1", "give() and None"])
async def test_a_coroutine_that_was_never_awaited_is_reported_in_its_cell(session, code):
    await session.run("async def give(): pass")
    cell = await session.run(f"{code};")

    assert cell.stderr.startswith("<cell 2>:")
    assert "RuntimeWarning: coroutine 'give' was never awaited\n" in cell.stderr
    assert "skep_workers" not in cell.stderr


async def test_an_unawaited_coroutine_that_the_engine_drops_is_reported_where_it_is_defined(session):
    await session.run("async def give(): pass")
    await session.run("[give()]")
    await session.run("2")
    await session.run("3")
    cell = await session.run("4")

    assert cell.stderr.startswith("<cell 1>:1: RuntimeWarning: coroutine 'give' was never awaited\n")
    assert "skep_workers" not in cell.stderr


async def test_an_unawaited_coroutine_is_reported_with_its_origin_if_that_is_tracked(session):
    await session.run("import sys\nsys.set_coroutine_origin_tracking_depth(2)\nasync def give(): pass")
    cell = await session.run("x = give()\ndel x")

    assert "never awaited\nCoroutine created at (most recent call last)\n" in cell.stderr
    assert 'File "<cell 2>", line 1, in <module>' in cell.stderr


async def test_an_exception_of_a_task_is_reported_in_the_cell_that_created_it(session):
    first = await session.run(
        "import asyncio, gc\nasync def work(): raise LookupError('lost')\ntask = asyncio.create_task(work());"
    )
    second = await session.run("await asyncio.sleep(0)\ndel task\ngc.collect();")
    await first.said("LookupError: lost")

    assert first.stderr.startswith("Task exception was never retrieved\n")
    assert second.text == ""


async def test_an_exception_of_a_callback_is_reported_in_the_cell_that_created_it(session):
    first = await session.run(
        "import asyncio\ndef late(): raise LookupError('lost')\nasyncio.get_running_loop().call_later(0.01, late);"
    )
    second = await session.run("await asyncio.sleep(0.05)")
    await first.said("LookupError: lost")

    assert second.text == ""


async def test_a_hook_of_a_cell_is_called_for_finalizers_and_threads(session):
    await session.run(
        "import sys, threading\nsys.unraisablehook = lambda lost: print('unraisable', lost.exc_type.__name__)\n"
        "threading.excepthook = lambda given: print('thread', given.exc_type.__name__)"
    )

    assert await session.text(f"{GENTLE}Gone();") == "unraisable LookupError\n"
    assert await session.text("thread = threading.Thread(target=lambda: 1 / 0)\nthread.start()\nthread.join()") == (
        "thread ZeroDivisionError\n"
    )


# --- child processes ----------------------------------------------------------------------------------------------------


async def test_a_python_that_a_cell_starts_finds_modules_of_the_sessions_directory(session):
    await session.run("import os, subprocess, sys\nopen('helper_of_mine.py', 'w').write('x = 41');")
    code = "'import helper_of_mine; print(helper_of_mine.x)'"

    assert await session.value(f"subprocess.run([sys.executable, '-c', {code}], capture_output=True).stdout") == b"41\n"
    options = "*subprocess._args_from_interpreter_flags()"
    assert (
        await session.value(f"subprocess.run([sys.executable, {options}, '-c', {code}], capture_output=True).stdout")
        == b"41\n"
    )
    assert await session.value("sys.flags.safe_path, 'PYTHONSAFEPATH' in os.environ") == (False, False)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
async def test_processes_of_multiprocessing_find_modules_of_the_sessions_directory(session, method):
    await session.run(
        "import multiprocessing, subprocess, sys\n"
        "open('helper_of_mine.py', 'w').write('import sys\\ndef flag(_): return sys.flags.safe_path');"
    )
    code = f"import helper_of_mine\nwith multiprocessing.get_context('{method}').Pool(1) as pool: flags = pool.map(helper_of_mine.flag, [0])\nflags"

    assert await session.value(code) == [False]


async def test_the_session_itself_imports_nothing_from_the_workers_directory(session):
    assert await session.value("import os, sys\nsys.path[0], sys.path.count('')") == ("", 1)
