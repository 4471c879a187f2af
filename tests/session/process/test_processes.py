"""Forked and started processes: their output, their ends, and what they do not inherit."""

import pytest

pytestmark = pytest.mark.anyio

MODES = {
    "simple": "",
    "blocking": "import time; time.sleep(0)",
    "awaiting": "import asyncio; await asyncio.sleep(0)",
    "beside a background task": "import asyncio, time; time.sleep(0)",
}


@pytest.fixture(params=MODES.keys())
async def first_line(session, request):
    """Return the first line of a cell, which decides in which mode the cell runs."""
    if request.param == "beside a background task":
        await session.run("import asyncio\nbackground = asyncio.create_task(asyncio.sleep(3600))")
    return MODES[request.param]


async def test_a_forked_child_that_exits_itself_does_no_harm(session, first_line):
    cell = await session.run(
        f"{first_line}\nimport os\npid = os.fork()\nif pid == 0:\n    print('from the child')\n    os._exit(7)\n"
        "_, status = os.waitpid(pid, 0)\nprint('from the parent')\nos.waitstatus_to_exitcode(status)"
    )

    assert (cell.value, cell.text) == (7, "from the child\nfrom the parent\n")
    assert await session.value("'on'") == "on"


async def test_a_forked_child_that_runs_to_the_end_of_its_cell_ends_and_is_no_session(session, first_line):
    cell = await session.run(
        f"{first_line}\nimport os\nx = []\npid = os.fork()\nx.append('child' if pid == 0 else 'parent')\n"
        "if pid: os.waitpid(pid, 0)\nprint(x)"
    )

    assert cell.status == "finished"
    assert cell.text == "['child']\n['parent']\n"
    assert await session.value("x") == ["parent"]


async def test_a_forked_child_that_raises_sends_nothing_for_the_parent(session, first_line):
    cell = await session.run(
        f"{first_line}\nimport os\npid = os.fork()\nif pid == 0: raise SystemExit(3)\nos.waitpid(pid, 0)\n'unharmed'"
    )

    assert cell.value == "unharmed"
    assert await session.value("'on'") == "on"


async def test_a_forked_child_does_not_repeat_its_parents_output(session):
    cell = await session.run(
        "import os\nos.write(1, b'before ')\npid = os.fork()\nif pid == 0:\n"
        "    for i in range(1000): print('c', end='', flush=True)\n    os._exit(0)\n"
        "for i in range(1000): print('p', end='')\nos.waitpid(pid, 0);"
    )

    assert cell.text.startswith("before ")
    assert (cell.text.count("c"), cell.text.count("p")) == (1000, 1000)


async def test_a_forked_child_can_not_request_input(session):
    cell = await session.run(
        "import os\npid = os.fork()\nif pid == 0:\n    try: input()\n    except EOFError: os._exit(5)\n"
        "os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
    )

    assert (cell.value, cell.questions) == (5, [])


async def test_a_child_that_outlives_its_cell_prints_for_a_later_one(session):
    await session.run(
        "import subprocess\nchild = subprocess.Popen(['sh', '-c', 'read line; echo $line'], stdin=subprocess.PIPE, text=True)"
    )
    cell = await session.run("child.communicate('late');")

    assert cell.text == "late\n"


async def test_multiprocessing_runs_functions_of_cells(session, first_line):
    await session.run("import multiprocessing\ndef square(x):\n    print('squaring', x)\n    return x * x")
    cell = await session.run(
        f"{first_line}\nwith multiprocessing.Pool(2) as pool: squares = pool.map(square, range(4), chunksize=1)\nsquares"
    )

    assert cell.value == [0, 1, 4, 9]
    assert sorted(cell.text.splitlines()) == [f"squaring {number}" for number in range(4)]


async def test_a_process_pool_passes_instances_of_classes_of_cells(session):
    await session.run(
        "from concurrent.futures import ProcessPoolExecutor\nclass P:\n    def __init__(self, x): self.x = x\ndef double(p): return P(p.x * 2)"
    )

    assert await session.value(
        "with ProcessPoolExecutor(1) as pool: p = pool.submit(double, P(4)).result()\n(p.x, type(p) is P)"
    ) == (8, True)


async def test_a_multiprocessing_process_prints_and_ends(session, first_line):
    await session.run("import multiprocessing, sys\ndef work():\n    print('out')\n    print('err', file=sys.stderr)")
    cell = await session.run(f"{first_line}\np = multiprocessing.Process(target=work)\np.start()\np.join()\np.exitcode")

    assert cell.value == 0
    assert (cell.stdout, cell.stderr) == ("out\n", "err\n")


async def test_queues_and_pipes_between_processes_work(session):
    code = "import multiprocessing\nq = multiprocessing.Queue()\np = multiprocessing.Process(target=lambda: q.put([1, 2]))\np.start()\ngot = q.get()\np.join()\ngot"

    assert await session.value(code) == [1, 2]


async def test_a_started_process_has_only_its_streams_open(session):
    code = "import os, subprocess\nlisted = subprocess.run(['ls', '/proc/self/fd'], capture_output=True, text=True, close_fds=False).stdout.split()\nlisted"

    assert set(await session.value(code)) == {"0", "1", "2", "3"}  # 3 is the directory it lists


async def test_a_session_has_only_the_allowed_environment(session, monkeypatch):
    names = await session.value("import os\nsorted(os.environ)")

    assert "MPLBACKEND" in names
    assert not [name for name in names if "REDIS" in name or "PYTEST" in name]


async def test_async_child_processes_work(session):
    cell = await session.run(
        "import asyncio\np = await asyncio.create_subprocess_exec('echo', 'hello', stdout=asyncio.subprocess.PIPE)\n"
        "(await p.communicate())[0].decode(), p.returncode"
    )

    assert cell.value == ("hello\n", 0)


async def test_async_child_processes_work_while_a_later_cell_blocks(session):
    await session.run(
        "import asyncio, queue\ndone = queue.SimpleQueue()\nasync def work():\n"
        "    p = await asyncio.create_subprocess_exec('true')\n    done.put(await p.wait())\ntask = asyncio.create_task(work())"
    )

    assert await session.value("done.get()") == 0


async def test_a_process_that_kills_itself_is_reported_with_its_signal(session):
    session.submit("print('last words')\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    async with session.news:
        await session.news.wait_for(lambda: session.exit_cause is not None)

    assert session.exit_cause == "killed by SIGKILL"


async def test_a_crash_in_c_leaves_its_message(session):
    session.submit("import ctypes\nctypes.string_at(0)")
    async with session.news:
        await session.news.wait_for(lambda: session.exit_cause is not None)

    assert session.exit_cause == "killed by SIGSEGV"
    said = "".join(cell.stderr for cell in session.cells.values()) + "".join(text for _, text in session.left)
    assert "Fatal Python error: Segmentation fault" in said
