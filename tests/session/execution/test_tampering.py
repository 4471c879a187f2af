"""Tampering: whatever a cell does to its process, later cells run, or the process reports the error and ends."""

import pytest

pytestmark = pytest.mark.anyio

TAMPERING = {
    "replaces sys.stdout": "import sys, io\nsys.stdout = io.StringIO()",
    "deletes sys.stdout": "import sys\ndel sys.stdout",
    "sets sys.stdout to None": "import sys\nsys.stdout = sys.stderr = None",
    "stops the clocks": "import time\ntime.perf_counter = time.perf_counter_ns = time.monotonic = time.time = lambda: 0",
    "patches time away": "import time\ntime.perf_counter = time.perf_counter_ns = time.monotonic = time.time = time.sleep = None",
    "patches json": "import json\njson.dumps = json.loads = None",
    "patches threading": "import threading\nthreading.Thread = threading.Lock = threading.Condition = threading.Event = threading.current_thread = None",
    "patches asyncio": "import asyncio\nasyncio.sleep = asyncio.create_task = asyncio.current_task = asyncio.timeout = asyncio.run = None",
    "patches traceback": "import traceback\ntraceback.TracebackException = traceback.format_exc = None",
    "clears linecache": "import linecache\nlinecache.clearcache()",
    "patches socket and select": "import socket, select, selectors\nsocket.socket = select.poll = selectors.DefaultSelector = None",
    "stops the loop": "import asyncio\nasyncio.get_event_loop().stop()",
    "closes the loop": "import asyncio\nasyncio.get_event_loop().close()",
    "closes the loop off it": "import asyncio, time\ntime.sleep(0)\nasyncio.get_event_loop().close()",
    "sets another loop": "import asyncio\nasyncio.set_event_loop(asyncio.new_event_loop())",
    "sets another loop policy": "import asyncio\nclass P(asyncio.DefaultEventLoopPolicy): pass\nasyncio.set_event_loop_policy(P())",
    "sets an exception handler": "import asyncio\nasyncio.get_running_loop().set_exception_handler(lambda *a: 1 / 0)",
    "sets a task factory": "import asyncio\nasyncio.get_running_loop().set_task_factory(lambda *a, **k: 1 / 0)",
    "cancels all tasks": "import asyncio\n[task.cancel() for task in asyncio.all_tasks()]",
    "ignores signals": "import signal\nfor n in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE): signal.signal(n, signal.SIG_IGN)",
    "blocks signals": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])",
    "sets an alarm": "import signal\nsignal.signal(signal.SIGALRM, lambda *a: None)\nsignal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)",
    "sets a trace and a profile": "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)",
    "sets a low recursion limit": "import sys\nsys.setrecursionlimit(120)",
    "turns warnings into errors": "import warnings\nwarnings.simplefilter('error')",
    "replaces the hooks": "import sys\nsys.excepthook = sys.displayhook = sys.unraisablehook = None",
    "clears its namespace": "globals().clear()",
    "deletes __main__": "import sys\ndel sys.modules['__main__']",
    "clears sys.modules": "import sys\nfor name in list(sys.modules):\n    if name.startswith(('skep', 'asyncio', 'json', 'threading')): del sys.modules[name]",
    "leaves its directory": "import os, tempfile\nd = tempfile.mkdtemp()\nos.chdir(d)\nos.rmdir(d)",
    "closes its input": "import os\nos.close(0)",
    "empties its environment": "import os\nos.environ.clear()",
    "freezes the collector": "import gc\ngc.disable()\ngc.set_threshold(1, 1, 1)\ngc.enable()",
    "uses a great many descriptors": "import os\nheld = [os.open('/dev/null', 0) for _ in range(800)]",
    "redefines display and input": "display = input = print = None",
    "defines modules of its own": "import sys\nfor name in ('struct', 'json', 'asyncio', 'linecache'):\n    open(f'{name}.py', 'w').write('mine = 1')\n    sys.modules.pop(name)\n    assert __import__(name).mine",
    "registers an atexit hook": "import atexit\natexit.register(lambda: 1 / 0)",
    "changes the locale": "import locale\nlocale.setlocale(locale.LC_ALL, 'C')",
    "limits its memory": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, resource.RLIM_INFINITY))",
    "moves sys.path away": "import sys\nsys.path[:] = []",
    "enables asyncio debugging": "import asyncio\nasyncio.get_running_loop().set_debug(True)",
}  # fmt: skip


@pytest.mark.parametrize("code", TAMPERING.values(), ids=TAMPERING.keys())
async def test_later_cells_of_every_kind_run_after_one_that(session, code):
    await session.run("kept = 1")
    assert (await session.run(code)).error is None
    plain, failing, awaiting, blocking, displaying = session.submit_all(
        "import sys\nx = 20\nx + 22",
        "undefined_name",
        "import types\n@types.coroutine\ndef once(): yield\nawait once()\n43",
        "import select\nselect.select([], [], [], 0)\n44",
        "__import__('builtins').display('shown')",
    )
    await displaying.ended()

    assert (plain.value, awaiting.value, blocking.value) == (42, 43, 44)
    assert failing.error.ename == "NameError"
    assert displaying.displays[0].bundle == {"text/plain": "'shown'"}


BREAKING = {
    "builtins": "import builtins\nbuiltins.isinstance = builtins.len = builtins.type = lambda *a: 1 / 0",
    "ast": "import ast\nast.Module = ast.Expr = ast.NodeVisitor = None",
    "os": "import os\nos.read = os.write = os.eventfd_write = os.getpid = None",
    "the loop": "import asyncio\nasyncio.get_running_loop()._run_once = lambda: 1 / 0",
    "its sockets": "import os\nos.closerange(3, 4096)",
}


@pytest.mark.parametrize("code", BREAKING.values(), ids=BREAKING.keys())
async def test_a_process_continues_or_ends_but_never_hangs_when_a_cell_breaks(session, code):
    session.submit(code)
    later = session.submit("1")
    async with session.news:
        await session.news.wait_for(lambda: later.done is not None or session.exit_cause is not None)

    assert later.done is not None or session.exit_cause is not None


async def test_a_broken_engine_reports_the_error_before_it_ends(session):
    session.submit("import asyncio\nasyncio.get_running_loop()._run_once = lambda: 1 / 0")
    async with session.news:
        await session.news.wait_for(lambda: session.exit_cause is not None)

    assert "the engine failed" in session.exit_cause
    assert "ZeroDivisionError" in "".join(cell.stderr for cell in session.cells.values())


async def test_a_cell_whose_task_is_cancelled_before_its_start_fails_and_the_next_cell_runs(session):
    await session.run(
        "import asyncio\nloop = asyncio.get_running_loop()\nturns = iter(range(20))\n"
        "def hook():\n    for task in asyncio.all_tasks(): task.cancel()\n    if next(turns, None) is not None: loop.call_soon(hook)"
    )
    # The loop doesn't run during a cell that doesn't await, so the task of the next cell has to wait to be started.
    cells = session.submit_all("loop.call_soon(hook)", *["pass", "ran = True\nif not ran: await hook\n1"] * 15)
    await cells[-1].ended()
    statuses = [cell.status for cell in cells]

    assert "failed" in statuses
    assert statuses[-1] == "finished"
    assert {cell.error.ename for cell in cells if cell.error} == {"CancelledError"}


async def test_a_loop_that_a_cell_sets_is_not_used_by_later_cells(session):
    await session.run(
        "import asyncio\nown = asyncio.get_running_loop()\nasyncio.set_event_loop(asyncio.new_event_loop())"
    )

    assert await session.value("import time\ntime.sleep(0)\nasyncio.get_event_loop() is own") is True
    assert await session.value("await asyncio.sleep(0)\nasyncio.get_running_loop() is own") is True
