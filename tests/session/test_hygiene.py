"""Hygiene: nothing leaks, nothing a cell does to its process takes the next cell away, no cell speaks for another."""

import asyncio
import os

import pytest

pytestmark = pytest.mark.anyio

COUNTS = """
import asyncio, gc, os, threading
def counts():
    gc.collect()
    return len(asyncio.all_tasks()), threading.active_count(), len(os.listdir("/proc/self/fd"))
"""


async def test_a_thousand_cells_leave_no_task_thread_or_descriptor(session):
    await session.run(COUNTS)
    await session.run("import time\ntime.sleep(0)")
    before = await session.value("counts()")
    kinds = ["x = {}", "import asyncio; await asyncio.sleep(0); x = {}", "import time; time.sleep(0); x = {}", "print({})", "1 / 0",
             "display({})", "async def f(): return {}\nx = await f()", "!true" if False else "def f(): return {}\nf()"]  # fmt: skip
    for start in range(0, 1000, 50):
        cells = session.submit_all(*[kinds[number % len(kinds)].format(number) for number in range(start, start + 50)])
        await cells[-1].ended()

    assert await session.value("counts()") == before


async def test_interrupts_timeouts_and_questions_leave_nothing_behind(session):
    await session.run(COUNTS)
    cell = session.submit("input()")
    await cell.until(lambda cell: cell.questions)
    session.answer(cell, "")
    before = await session.value("counts()")
    for _ in range(20):
        cell = await session.submit("import time\nprint('ready')\ntime.sleep(3600)").said("ready")
        session.interrupt(cell)
        await cell.ended()
        await session.run("await asyncio.sleep(3600)", timeout=0.001)
        await session.run("!true")

    assert await session.value("counts()") == before


async def test_background_tasks_beside_blocking_cells_leave_no_threads(session):
    await session.run(COUNTS + "task = asyncio.create_task(asyncio.sleep(3600))\nimport time")
    before = await session.value("counts()")
    for _ in range(50):
        await session.run("time.sleep(0)")

    assert await session.value("counts()") == before


async def test_fifty_sessions_start_at_the_same_time(start_session):
    sessions = await asyncio.gather(*[start_session() for _ in range(50)])
    values = await asyncio.gather(*[each.value(f"import os\n(os.getpid(), {number})") for number, each in enumerate(sessions)])

    assert [number for _, number in values] == list(range(50))
    assert len({pid for pid, _ in values}) == 50


async def test_sessions_share_no_names_modules_or_random_numbers(start_session):
    first, second = [await start_session() for _ in range(2)]
    await first.run("import json, os\nx = 1\njson.mine = 1\nos.environ['MINE'] = '1'")

    assert await second.value("import json, os\n('x' in globals(), hasattr(json, 'mine'), 'MINE' in os.environ)") == (False,) * 3
    code = "import random, uuid\n(random.random(), str(uuid.uuid4()))"
    assert await first.value(code) != await second.value(code)


TAMPERING = {
    "replaces sys.stdout": "import sys, io\nsys.stdout = io.StringIO()",
    "deletes sys.stdout": "import sys\ndel sys.stdout",
    "sets sys.stdout to None": "import sys\nsys.stdout = sys.stderr = None",
    "patches time": "import time\ntime.perf_counter = time.perf_counter_ns = time.monotonic = time.time = None",
    "patches json": "import json\njson.dumps = json.loads = None",
    "patches threading": "import threading\nthreading.Thread = threading.Lock = threading.Condition = threading.Event = threading.get_ident = None",
    "patches asyncio.sleep": "import asyncio\nasyncio.sleep = asyncio.create_task = asyncio.current_task = asyncio.timeout = None",
    "patches os": "import os\nos.write = os.read = os.getpid = os.eventfd_write = None",
    "patches builtins": "import builtins\nbuiltins.isinstance = builtins.len = builtins.type = builtins.repr = lambda *a: 1 / 0",
    "patches traceback": "import traceback, linecache\ntraceback.TracebackException = linecache.cache = None",
    "patches ast": "import ast\nast.Module = ast.Expr = ast.NodeVisitor = None",
    "patches msgpack": "import msgpack\nmsgpack.packb = msgpack.unpackb = msgpack.Packer = None",
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
    "closes low descriptors": "import os\nos.closerange(3, 5)" if False else "import os\nos.close(0)",
    "empties its environment": "import os\nos.environ.clear()",
    "freezes the collector": "import gc\ngc.disable()\ngc.set_threshold(1, 1, 1)\ngc.enable()",
    "uses a great many descriptors": "import os\nheld = [os.open('/dev/null', 0) for _ in range(800)]",
    "redefines display and input": "display = input = print = None",
    "redefines the builtins dict": "__builtins__ = {}",
    "defines modules of its own": "open('struct.py', 'w').write('x = 1')\nopen('json.py', 'w').write('x = 2')\nopen('asyncio.py', 'w').write('x = 3')",
    "registers an atexit hook": "import atexit\natexit.register(lambda: 1 / 0)",
    "changes the locale": "import locale\nlocale.setlocale(locale.LC_ALL, 'C')",
    "limits its memory": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, resource.RLIM_INFINITY))",
    "moves sys.path away": "import sys\nsys.path[:] = []",
    "enables asyncio debugging": "import asyncio\nasyncio.get_running_loop().set_debug(True)",
}  # fmt: skip


@pytest.mark.parametrize("code", TAMPERING.values(), ids=TAMPERING.keys())
async def test_later_cells_of_every_kind_run_after_one_that(session, code):
    await session.run(code)
    plain, failing, awaiting, blocking, displaying = session.submit_all(
        "import sys\nx = 20\nx + 22",
        "undefined_name",
        "import types\n@types.coroutine\ndef once(): yield\nawait once()\n43",
        "import subprocess\nsubprocess.call(['true'])\n44",
        "__import__('builtins').display('shown')",
    )
    await displaying.ended()

    assert plain.value == 42
    assert failing.error.ename == "NameError"
    assert awaiting.value == 43
    assert blocking.value == 44
    assert displaying.displays[0].bundle == {"text/plain": "'shown'"}
