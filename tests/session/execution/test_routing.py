"""Routing: the mode in which a cell runs, detected through aliases and functions, and what works in each mode."""

import pytest

pytestmark = pytest.mark.anyio

BLOCKING_CELLS = {
    "time.sleep": "import time\ntime.sleep(0)",
    "module alias": "import time as t\nt.sleep(0)",
    "from import": "from time import sleep\nsleep(0)",
    "from import as": "from time import sleep as nap\nnap(0)",
    "assigned alias": "import time\nnap = time.sleep\nnap(0)",
    "alias of an alias": "import time\na = time\nb = a\nb.sleep(0)",
    "subprocess": "import subprocess\nsubprocess.run(['true'])",
    "Popen().wait": "import subprocess\nsubprocess.Popen(['true']).wait()",
    "Popen in a variable": "import subprocess\np = subprocess.Popen(['true'])\np.wait()",
    "Popen in a with": "import subprocess\nwith subprocess.Popen(['true']) as p:\n    p.communicate()",
    "os.system": "import os\nos.system('true')",
    "open": "open('/dev/null').close()",
    "pathlib": "from pathlib import Path\nPath('/dev/null').read_text()",
    "pathlib in a variable": "import pathlib\np = pathlib.Path('/dev/null')\np.read_bytes()",
    "socket": "import socket\ns = socket.socket()\ns.close()",
    "create_connection": "import socket\ntry: socket.create_connection(('127.0.0.1', 1), timeout=1)\nexcept OSError: pass",
    "urllib": "import urllib.request\ntry: urllib.request.urlopen('file:///dev/null').close()\nexcept OSError: pass",
    "asyncio.run": "import asyncio\nasync def main(): return 1\nasyncio.run(main())",
    "from asyncio import run": "from asyncio import run\nasync def main(): return 1\nrun(main())",
    "run_until_complete": "import asyncio\nasync def main(): return 1\nasyncio.new_event_loop().run_until_complete(main())",
    "asyncio.Runner": "import asyncio\nasync def main(): return 1\nwith asyncio.Runner() as runner: runner.run(main())",
    "thread join": "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()",
    "queue": "import queue\nq = queue.Queue()\nq.put(1)\nq.get()",
    "future result": "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor() as pool:\n    f = pool.submit(int)\nimport concurrent.futures\nconcurrent.futures.wait([f])",
    "sqlite": "import sqlite3\nsqlite3.connect(':memory:').close()",
    "in a loop": "import time\nfor _ in range(2):\n    if _: time.sleep(0)",
    "in a comprehension": "import time\n[time.sleep(0) for _ in range(2)]",
    "in a class body": "import time\nclass C:\n    time.sleep(0)",
    "in a decorator": "import time\n@(lambda f: time.sleep(0) or f)\ndef f(): pass\ntime.sleep(0)",
    "in a default argument": "import time\ndef f(a=time.sleep(0)): pass",
    "a function of the cell": "import time\ndef nap(): time.sleep(0)\nnap()",
    "a function of a function": "import time\ndef nap(): time.sleep(0)\ndef twice(): nap(); nap()\ntwice()",
    "a method": "import time\nclass C:\n    def nap(self): time.sleep(0)\nc = C()\nc.nap()",
    "a constructor": "import time\nclass C:\n    def __init__(self): time.sleep(0)\nC()",
    "%%bash": "%%bash\ntrue",
    "!cmd": "!true",
}  # fmt: skip


@pytest.mark.parametrize("code", BLOCKING_CELLS.values(), ids=BLOCKING_CELLS.keys())
async def test_blocking_code_does_not_run_on_the_loop(session, code):
    cell = await session.run(code)

    assert cell.error is None, cell.error.traceback
    assert cell.mode == "blocking_sync"


LOOP_CELLS = {
    "plain code": ("x = 1 + 1", "simple_sync"),
    "a def that would block": ("import time\ndef nap(): time.sleep(0)", "simple_sync"),
    "a lambda that would block": ("import time\nnap = lambda: time.sleep(0)", "simple_sync"),
    "an async def": ("async def f(): pass", "async_def"),
    "a coroutine that would block": ("import time\nasync def f(): time.sleep(0)\nc = f()\nc.close()", "async_def"),
    "a generator that would block": ("import time\ndef g():\n    time.sleep(0)\n    yield\ng()", "simple_sync"),
    "await beside a blocking call": ("import time, asyncio\ntime.sleep(0)\nawait asyncio.sleep(0)", "top_level_await"),
    "create_task": ("import asyncio\nasync def f(): pass\nt = asyncio.create_task(f())", "async_def"),
    "create_task beside a blocking call": (
        "import asyncio, time\nasync def f(): pass\ntime.sleep(0)\nt = asyncio.create_task(f())",
        "async_def",
    ),
    "a name like a blocking one": ("class time:\n    sleep = staticmethod(lambda s: s)\ntime.sleep(0)", "simple_sync"),
    "a blocking name in a string": ("'time.sleep(60)'", "simple_sync"),
    "an attribute, not a call": ("import time\nf = time.sleep", "simple_sync"),
    "asyncio.sleep": ("import asyncio\nc = asyncio.sleep(0)\nc.close()", "simple_sync"),
    "Path without I/O": ("from pathlib import Path\nPath('a') / 'b'", "simple_sync"),
}


@pytest.mark.parametrize(("code", "mode"), LOOP_CELLS.values(), ids=LOOP_CELLS.keys())
async def test_other_code_runs_on_the_loop(session, code, mode):
    cell = await session.run(code)

    assert cell.error is None, cell.error.traceback
    assert cell.mode == mode


@pytest.mark.parametrize(
    ("define", "call"),
    [
        ("import time", "time.sleep(0)"),
        ("from time import sleep as nap", "nap(0)"),
        ("import time\ndef nap(): time.sleep(0)", "nap()"),
        ("import time\ndef nap(): time.sleep(0)\nalias = nap", "alias()"),
        ("from pathlib import Path\np = Path('/dev/null')", "p.read_text()"),
        ("from pathlib import Path", "Path('/dev/null').read_text()"),
        ("import subprocess\np = subprocess.Popen(['true'])", "p.wait()"),
        ("import time\nclass C:\n    def nap(self): time.sleep(0)\nc = C()", "c.nap()"),
        ("import threading\ne = threading.Event()\ne.set()", "e.wait()"),
    ],
    ids=["module", "alias", "function", "function alias", "path", "path class", "process", "method", "event"],
)
async def test_names_that_an_earlier_cell_bound_are_resolved(session, define, call):
    await session.run(define)

    assert (await session.run(call)).mode == "blocking_sync"


async def test_a_rebound_name_no_longer_counts_as_blocking(session):
    await session.run("from time import sleep")
    await session.run("def sleep(seconds): return 'awake'")
    cell = await session.run("sleep(60)")

    assert (cell.value, cell.mode) == ("awake", "simple_sync")


async def test_asyncio_run_works_in_a_cell_and_leaves_the_loop_as_it_was(session):
    await session.run(
        "import asyncio\nasync def main():\n    await asyncio.sleep(0)\n    return 'ran'\nloop = asyncio.get_running_loop()"
    )

    assert await session.value("asyncio.run(main())") == "ran"
    assert await session.value(
        "await main(), asyncio.get_running_loop() is loop, asyncio.get_event_loop() is loop"
    ) == (
        "ran",
        True,
        True,
    )


async def test_asyncio_run_works_while_background_tasks_live(session):
    await session.run("import asyncio\nticks = 0\nasync def tick():\n    global ticks\n    while True:\n        ticks += 1\n        await asyncio.sleep(0)\ntask = asyncio.create_task(tick())\nasync def main():\n    before = ticks\n    while ticks < before + 10: await asyncio.sleep(0)\n    return 'ticked on'")  # fmt: skip

    assert await session.value("asyncio.run(main())") == "ticked on"


async def test_get_event_loop_run_until_complete_works_on_the_sessions_loop(session):
    await session.run(
        "import asyncio\nasync def main(): return asyncio.get_running_loop()\nown = asyncio.get_running_loop()"
    )

    assert await session.value("asyncio.get_event_loop().run_until_complete(main()) is own") is True


async def test_run_until_complete_also_runs_background_tasks(session):
    await session.run(
        "import asyncio\nfuture = asyncio.get_running_loop().create_future()\nasync def work(): future.set_result('done')"
    )

    assert (
        await session.value(
            "loop = asyncio.get_event_loop()\nloop.create_task(work())\nloop.run_until_complete(future)"
        )
        == "done"
    )


async def test_create_task_works_in_a_cell_without_await(session):
    await session.run(
        "import asyncio\nasync def work():\n    await asyncio.sleep(0)\n    return 'worked'\ntask = asyncio.create_task(work())"
    )

    assert await session.value("await task") == "worked"


async def test_background_tasks_continue_while_a_cell_blocks(session):
    await session.run("import asyncio, queue\nticks = queue.SimpleQueue()\nasync def tick():\n    while True:\n        ticks.put('tick')\n        await asyncio.sleep(0)\ntask = asyncio.create_task(tick())")  # fmt: skip
    await session.run("while not ticks.empty(): ticks.get()")
    cell = await session.run("[ticks.get() for _ in range(50)][-1]")

    assert (cell.value, cell.mode) == ("tick", "blocking_sync")


async def test_a_blocking_cell_runs_on_the_main_thread(session):
    code = "import threading, time\ntime.sleep(0)\nthreading.current_thread() is threading.main_thread()"

    assert await session.value(code) is True


async def test_a_blocking_cell_also_runs_on_the_main_thread_while_background_tasks_run(session):
    await session.run("import asyncio\ntask = asyncio.create_task(asyncio.sleep(3600))")

    assert (
        await session.value(
            "import threading, time\ntime.sleep(0)\nthreading.current_thread() is threading.main_thread()"
        )
        is True
    )


async def test_signal_handlers_can_be_set_in_any_cell(session):
    for code in ("import signal", "import time; time.sleep(0)", "import asyncio; await asyncio.sleep(0)"):
        cell = await session.run(f"import signal\n{code}\nsignal.signal(signal.SIGUSR1, print) is None")
        assert cell.error is None


@pytest.mark.parametrize(
    ("detection", "code", "mode"),
    [
        ({"blocking": ["math.sqrt"]}, "import math\nmath.sqrt(4)", "blocking_sync"),
        ({"blocking": ["json.*"]}, "import json as j\nj.dumps(1)", "blocking_sync"),
        ({"not_blocking": ["time.sleep"]}, "import time\ntime.sleep(0)", "simple_sync"),
        ({"always": "blocking_sync"}, "x = 1", "blocking_sync"),
        ({"always": "simple_sync"}, "import time\ntime.sleep(0)", "simple_sync"),
        ({"always": "blocking_sync"}, "import asyncio\nawait asyncio.sleep(0)", "top_level_await"),
    ],
)
async def test_a_session_may_have_its_own_policy(start_session, detection, code, mode):
    session = await start_session(detection=detection)
    cell = await session.run(code)

    assert (cell.status, cell.mode) == ("finished", mode)


async def test_counters_report_for_each_cell_what_was_recognised(session):
    cell = await session.run("import time, subprocess\ntime.sleep(0)")

    assert cell.detected == {"blocking_import": 2, "blocking_call": 1}
    assert (await session.run("x = 1")).detected == {}


async def test_a_chain_that_can_not_be_resolved_is_counted_as_missed(session):
    cell = await session.run("try: no_such_name.method()\nexcept NameError: pass")

    assert cell.detected == {"missed_chain": 1}


@pytest.mark.parametrize("size", [0, 1, 100])
async def test_the_analysis_is_the_same_with_any_size_of_its_cache(start_session, size):
    session = await start_session(ast_cache_size=size)
    cells = [await session.run(code) for code in ("import time\ntime.sleep(0)", "2") * 3]

    assert [cell.mode for cell in cells] == ["blocking_sync", "simple_sync"] * 3
