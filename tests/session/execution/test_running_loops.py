"""Running event loops in cells and in the code that they call.

Code that runs a loop of its own (`asyncio.run`) finds no running loop; code that needs a loop finds the session's.
"""

import pytest

pytestmark = pytest.mark.anyio

HELPER = """
import asyncio, functools
async def _get(n):
    await asyncio.sleep(0)
    return n
def get(n): return asyncio.run(_get(n))
def get_with_runner(n):
    with asyncio.Runner() as runner: return runner.run(_get(n))
def get_with_own_loop(n):
    loop = asyncio.new_event_loop()
    try: return loop.run_until_complete(_get(n))
    finally: loop.close()
def get_with_current_loop(n): return asyncio.get_event_loop().run_until_complete(_get(n))
def get_if_none_runs(n):
    try: asyncio.get_running_loop()
    except RuntimeError: return asyncio.run(_get(n))
    raise RuntimeError("a loop is running")
def get_if_none_is_found(n):
    try: loop = asyncio.get_running_loop()
    except (LookupError, RuntimeError): loop = None
    return asyncio.run(_get(n)) if loop is None else "a loop is running"
def get_if_not_running(n):
    loop = asyncio.get_event_loop()
    if loop.is_running(): raise RuntimeError("a loop is running")
    return loop.run_until_complete(_get(n))
def is_in_task():
    try: return asyncio.current_task() is not None
    except RuntimeError: return False
class Client:
    def fetch(self, n): return asyncio.run(_get(n))
    def __getattr__(self, name): return functools.partial(get, name)
def start(n=5): return asyncio.get_running_loop().create_task(_get(n))
def start_by_function(n=5): return asyncio.create_task(_get(n))
def start_all(): return asyncio.gather(_get(1), _get(2))
def current(): return asyncio.get_event_loop()
def running(): return asyncio.get_running_loop()
"""  # fmt: skip
PLAIN, BLOCKING = "pass", "open('/dev/null').close()"


@pytest.fixture
async def session(session, tmp_path):
    (tmp_path / "helper.py").write_text(HELPER)
    await session.run("import asyncio, functools, helper, time")
    return session


RUNS = {
    "asyncio.run of a module": "helper.get(7)",
    "a method": "helper.Client().fetch(7)",
    "an attribute that is made": "helper.Client().anything() and 7",
    "asyncio.Runner of a module": "helper.get_with_runner(7)",
    "a loop of its own": "helper.get_with_own_loop(7)",
    "run_until_complete on the current loop": "helper.get_with_current_loop(7)",
    "a module that asks whether a loop runs": "helper.get_if_none_runs(7)",
    "a module that asks which loop runs": "helper.get_if_none_is_found(7)",
    "a module that asks whether its loop runs": "helper.get_if_not_running(7)",
    "an alias": "run = asyncio.run\nrun(helper._get(7))",
    "a comprehension": "[asyncio.run(helper._get(i)) for i in range(8)][-1]",
    "map": "list(map(asyncio.run, [helper._get(7)]))[0]",
    "partial": "functools.partial(asyncio.run, debug=True)(helper._get(7))",
    "Runner in a with": "with asyncio.Runner() as r: a = r.run(helper._get(7))\na",
    "exec": "exec('b = asyncio.run(helper._get(7))')\nb",
    "eval": "eval('asyncio.run(helper._get(7))')",
    "getattr": "getattr(asyncio, 'r' + 'un')(helper._get(7))",
    "a decorator": "def sync(f): return lambda *a: asyncio.run(f(*a))\n@sync\nasync def main(n): return n\nmain(7)",
    "a callback of sorted": "sorted([7], key=helper.get)[0]",
    "a property": "class C:\n    @property\n    def n(self): return helper.get(7)\nC().n",
    "__repr__ of what is formatted": "class C:\n    def __repr__(self): return str(helper.get(7))\nint(f'{C()!r}')",
    "twice": "helper.get(6)\nhelper.get(7)",
    "after a failure": "async def fail(): 1 / 0\ntry: asyncio.run(fail())\nexcept ZeroDivisionError: pass\nhelper.get(7)",
    "on the session's loop after asyncio.run": "helper.get(6)\nhelper.get_with_current_loop(7)",
}  # fmt: skip


@pytest.mark.parametrize("before", [PLAIN, BLOCKING], ids=["plain", "blocking"])
@pytest.mark.parametrize("code", RUNS.values(), ids=RUNS.keys())
async def test_code_that_runs_a_loop_works_in_every_kind_of_cell(session, before, code):
    cell = await session.run(f"{before}\n{code}")

    assert (cell.value, cell.text) == (7, "")


@pytest.mark.parametrize("before", [PLAIN, BLOCKING], ids=["plain", "blocking"])
@pytest.mark.parametrize("code", RUNS.values(), ids=RUNS.keys())
async def test_code_that_runs_a_loop_works_while_background_tasks_run(session, before, code):
    await session.run(
        "async def tick():\n    while True: await asyncio.sleep(0.001)\ntask = asyncio.create_task(tick())"
    )

    assert await session.value(f"{before}\n{code}") == 7
    assert await session.value("await asyncio.sleep(0.002)\ntask.done()") is False


AWAITING_RUNS = ["asyncio.run of a module", "asyncio.Runner of a module", "a loop of its own", "map", "a decorator"]


@pytest.mark.parametrize("code", [RUNS[name] for name in AWAITING_RUNS], ids=AWAITING_RUNS)
async def test_asyncio_run_also_works_in_a_cell_that_awaits(session, code):
    cell = await session.run(f"own = asyncio.get_running_loop()\nawait asyncio.sleep(0)\n{code}")

    assert cell.value == 7
    assert await session.value("await asyncio.sleep(0)\nasyncio.get_running_loop() is own") is True


async def test_a_cell_awaits_after_asyncio_run(session):
    code = "a = helper.get(3)\nawait asyncio.sleep(0.001)\nb = helper.get(4)\nasync with asyncio.timeout(5): await asyncio.sleep(0)\na + b"

    assert await session.value(code) == 7


async def test_a_background_task_gets_asyncios_own_error(session):
    await session.run("async def run(): return helper.get(1)\ntask = asyncio.create_task(run())")
    text = "asyncio.run() cannot be called from a running event loop"

    assert await session.value("await asyncio.wait([task])\nstr(task.exception())") == text


async def test_the_sessions_loop_can_not_be_run_by_a_cell_that_awaits_in_it(session):
    cell = await session.run("await asyncio.sleep(0)\nhelper.get_with_current_loop(7)")

    assert (cell.error.ename, cell.error.evalue) == ("RuntimeError", "This event loop is already running")


STARTS = {
    "get_running_loop of a module": "helper.start()",
    "create_task of a module": "helper.start_by_function()",
    "get_running_loop": "asyncio.get_running_loop().create_task(helper._get(5))",
    "create_task": "asyncio.create_task(helper._get(5))",
    "ensure_future": "asyncio.ensure_future(helper._get(5))",
    "get_event_loop": "asyncio.get_event_loop().create_task(helper._get(5))",
    "get_event_loop after asyncio.run": "helper.get(1)\nt = asyncio.get_event_loop().create_task(helper._get(5))\nt",
    "create_task after asyncio.run": "helper.get(1)\nt = helper.start_by_function()\nt",
    "run_coroutine_threadsafe": "asyncio.wrap_future(asyncio.run_coroutine_threadsafe(helper._get(5), helper.running()))",
}  # fmt: skip


@pytest.mark.parametrize("before", [PLAIN, BLOCKING, "time.sleep(0)"], ids=["plain", "blocking", "sleep"])
@pytest.mark.parametrize("code", STARTS.values(), ids=STARTS.keys())
async def test_code_that_needs_a_loop_gets_the_sessions_loop(session, before, code):
    *most, last = code.split("\n")
    cell = await session.run("\n".join([before, *most, f"task = {last}"]))
    assert cell.error is None, cell.error.traceback

    assert await session.value("await task") == 5


async def test_it_is_the_same_loop_in_every_kind_of_cell_and_module(session):
    await session.run("await asyncio.sleep(0)\nown = asyncio.get_running_loop()")
    for before in (PLAIN, BLOCKING, "await asyncio.sleep(0)", "helper.get(1)"):
        asked = "asyncio.get_running_loop(), asyncio.get_event_loop(), helper.running(), helper.current()"
        assert await session.value(f"{before}\n[loop is own for loop in ({asked})]") == [True] * 4


async def test_a_future_that_a_plain_cell_makes_belongs_to_the_sessions_loop(session):
    await session.run("helper.get(1)\nfuture = asyncio.Future()\nboth = helper.start_all()")

    assert await session.value("future.set_result(3)\n[await future, await both]") == [3, [1, 2]]


async def test_there_is_no_task_in_a_plain_cell(session):
    assert await session.value("helper.is_in_task()") is False


async def test_other_threads_find_no_loop(session):
    code = (
        "import threading\nfound = []\ndef look():\n    try: found.append(asyncio.get_running_loop())\n"
        "    except RuntimeError as exc: found.append(str(exc))\n"
        "    found.append(helper.get(7))\n"
        "thread = threading.Thread(target=look)\nthread.start()\nthread.join()\nfound"
    )

    assert await session.value(code) == ["no running event loop", 7]


async def test_a_child_process_finds_no_loop_and_runs_its_own(session):
    code = (
        "import os\nreader, writer = os.pipe()\npid = os.fork()\n"
        "if not pid:\n"
        "    try: found = repr(asyncio.get_running_loop())\n    except RuntimeError as exc: found = str(exc)\n"
        "    os.write(writer, f'{found}, {helper.get(7)}'.encode())\n    os._exit(0)\n"
        "os.waitpid(pid, 0)\nos.read(reader, 1000).decode()"
    )

    assert await session.value(code) == "no running event loop, 7"


LIBRARIES = {
    "unittest": (
        "import unittest\nclass T(unittest.IsolatedAsyncioTestCase):\n"
        "    async def test_it(self): self.assertEqual(await helper._get(7), 7)\n"
        "7 if unittest.main(argv=['x'], exit=False).result.wasSuccessful() else 'failed'"
    ),
    "anyio": "import anyio\nasync def main():\n    await anyio.sleep(0)\n    return 7\nanyio.run(main)",
    "anyio with uvloop": "import anyio\nasync def main(): return await helper._get(7)\nanyio.run(main, backend_options={'use_uvloop': True})",
    "anyio from a thread": "import anyio\nfrom anyio.from_thread import start_blocking_portal\nwith start_blocking_portal() as portal: n = portal.call(helper._get, 7)\nn",
    "uvloop": "import uvloop\nuvloop.run(helper._get(7))",
    "click": (
        "import click\ndef coro(f): return functools.wraps(f)(lambda *a, **k: asyncio.run(f(*a, **k)))\n"
        "@click.command()\n@coro\nasync def main(): return await helper._get(7)\nmain([], standalone_mode=False)"
    ),
    "typer": (
        "import typer\nfrom typer.testing import CliRunner\napp, got = typer.Typer(), []\n@app.command()\n"
        "def main(): got.append(asyncio.run(helper._get(7)))\nresult = CliRunner().invoke(app, [])\ngot[0]"
    ),
    "nest_asyncio": "import nest_asyncio2\nnest_asyncio2.apply()\nhelper.get(7)",
    "tornado": "import tornado.ioloop\ntornado.ioloop.IOLoop.current().run_sync(lambda: helper._get(7))",
}  # fmt: skip


@pytest.mark.parametrize("code", LIBRARIES.values(), ids=LIBRARIES.keys())
async def test_libraries_that_run_a_loop_do_so_in_a_plain_cell(session, code):
    cell = await session.run(code)

    assert cell.value == 7
    assert await session.value("await asyncio.sleep(0)\nawait helper.start()") == 5


async def test_a_server_of_a_blocking_cell_answers_that_cell(session):
    code = (
        "import socket\nasync def serve(reader, writer):\n    writer.write(await reader.readline())\n    writer.close()\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "task = asyncio.get_running_loop().create_task(asyncio.start_server(serve, sock=s))\n"
        "with socket.create_connection(s.getsockname()) as c:\n    c.sendall(b'hello\\n')\n    answer = c.recv(100)\nanswer"
    )

    assert await session.value(code) == b"hello\n"


async def test_a_blocking_cell_can_wait_for_what_it_has_scheduled_on_the_loop(session):
    code = "asyncio.run_coroutine_threadsafe(helper._get(7), asyncio.get_running_loop()).result()"

    assert await session.value(f"pass\n{code}") == 7
    assert await session.value(f"time.sleep(0)\n{code}") == 7


async def test_background_tasks_continue_while_a_module_runs_a_loop(session, tmp_path):
    (tmp_path / "waiting.py").write_text(
        "import asyncio\ndef wait(is_done):\n    async def main():\n        while not is_done(): await asyncio.sleep(0)\n"
        "    asyncio.run(main())\n"
    )
    await session.run("import waiting\nticks = []\nasync def tick():\n    while True:\n        ticks.append(1)\n        await asyncio.sleep(0)\ntask = asyncio.create_task(tick())")  # fmt: skip

    assert await session.value("n = len(ticks)\nwaiting.wait(lambda: len(ticks) > n + 10)\nTrue") is True


RUNNING = {
    "asyncio.run of a module": "helper.get_event(lambda: print('ready'))",
    "asyncio.run beside awaits": "await asyncio.sleep(0)\nhelper.get_event(lambda: print('ready'))",
    "run_until_complete of a module": "helper.wait_on_current(lambda: print('ready'))",
    "code that blocks in asyncio.run": "def nap():\n    print('ready')\n    time.sleep(3600)\nhelper.get_event(nap)",
    "code that spins in asyncio.run": "def spin():\n    print('ready')\n    while True: pass\nhelper.get_event(spin)",
}
MORE = """
async def _wait(begin):
    begin()
    await asyncio.Event().wait()
def get_event(begin): asyncio.run(_wait(begin))
def wait_on_current(begin): asyncio.get_event_loop().run_until_complete(_wait(begin))
"""  # fmt: skip


@pytest.mark.parametrize(
    "task", ["", "task = asyncio.create_task(asyncio.sleep(3600))"], ids=["alone", "beside a task"]
)
@pytest.mark.parametrize("code", RUNNING.values(), ids=RUNNING.keys())
async def test_an_interrupt_ends_a_loop_that_a_module_runs(session, tmp_path, code, task):
    (tmp_path / "helper.py").write_text(HELPER + MORE)
    await session.run(f"import importlib\nimportlib.reload(helper)\n{task}")
    cell = session.submit(code)
    await cell.said("ready")
    session.interrupt(cell)
    await cell.ended()

    assert (cell.status, session.exit_cause) == ("interrupted", None)
    assert await session.value("await asyncio.sleep(0)\nhelper.get(7)") == 7


@pytest.mark.parametrize("code", RUNNING.values(), ids=RUNNING.keys())
async def test_a_timeout_ends_a_loop_that_a_module_runs(session, tmp_path, code):
    (tmp_path / "helper.py").write_text(HELPER + MORE)
    await session.run("import importlib\nimportlib.reload(helper);")
    cell = await session.run(code, timeout=0.2)

    assert (cell.status, session.exit_cause) == ("timed_out", None)
    assert await session.value("helper.get(7)") == 7


async def test_a_keyboard_interrupt_in_asyncio_run_ends_the_cell(session):
    code = (
        "async def main(): raise KeyboardInterrupt\ntry: asyncio.run(main())\nexcept KeyboardInterrupt: print('caught')"
    )

    assert await session.text(code) == "caught\n"


async def test_a_timeout_inside_asyncio_run_is_raised_in_the_code(session):
    cell = await session.run(
        "async def main():\n    async with asyncio.timeout(0.001): await asyncio.sleep(3600)\nasyncio.run(main())"
    )

    assert (cell.status, cell.error.ename) == ("failed", "TimeoutError")


async def test_a_coroutine_that_is_a_cells_value_is_shown_and_can_still_be_awaited(session):
    cell = await session.run("helper._get(7)")

    assert cell.plain.startswith("<coroutine object _get at 0x")
    assert await session.value("await _") == 7


FROM_A_THREAD = """
import threading
def hand_over(): results.append(asyncio.run_coroutine_threadsafe(helper._get(7), loop).result())
results, loop = [], asyncio.get_running_loop()
thread = threading.Thread(target=hand_over)
"""  # fmt: skip


@pytest.mark.parametrize("wait", ["thread.join()", "exec('thread.join()')"], ids=["seen", "not seen"])
async def test_a_thread_that_a_cell_waits_for_can_schedule_work_on_the_loop(session, wait):
    await session.run(FROM_A_THREAD)

    assert await session.value(f"thread.start()\n{wait}\nresults") == [7]
    assert await session.value("await asyncio.sleep(0)\nawait helper.start()") == 5
