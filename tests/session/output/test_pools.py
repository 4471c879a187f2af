"""Output of a pool's threads belongs to the cell whose call they serve."""

import pytest

pytestmark = pytest.mark.anyio

WORK = "def work(n):\n    print('working on', n)\n    return n"
# How a pool is made, and how one call is made with it; `{n}` is the call's argument.
CALLS = {
    "submit": ("from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(2)", "pool.submit(work, {n}).result()"),
    "map": ("from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(2)", "list(pool.map(work, [{n}]))"),
    "one thread": ("from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(1)", "pool.submit(work, {n}).result()"),
    "a subclass": (
        "from concurrent.futures.thread import ThreadPoolExecutor\nclass Mine(ThreadPoolExecutor): pass\npool = Mine(1)",
        "pool.submit(work, {n}).result()",
    ),
    "default executor": ("import asyncio", "await asyncio.get_running_loop().run_in_executor(None, work, {n})"),
    "own executor": (
        "import asyncio, concurrent.futures\npool = concurrent.futures.ThreadPoolExecutor(1)",
        "await asyncio.get_running_loop().run_in_executor(pool, work, {n})",
    ),
    "to_thread": ("import asyncio", "await asyncio.to_thread(work, {n})"),
    "apply": ("from multiprocessing.pool import ThreadPool\npool = ThreadPool(2)", "pool.apply(work, ({n},))"),
    "apply_async": ("from multiprocessing.pool import ThreadPool\npool = ThreadPool(2)", "pool.apply_async(work, ({n},)).get()"),
    "pool.map": ("from multiprocessing.pool import ThreadPool\npool = ThreadPool(2)", "pool.map(work, [{n}])"),
    "starmap": ("from multiprocessing.dummy import Pool\npool = Pool(1)", "pool.starmap(work, [({n},)])"),
    "imap": ("from multiprocessing.pool import ThreadPool\npool = ThreadPool(1)", "list(pool.imap(work, [{n}]))"),
    "imap_unordered": ("import multiprocessing.pool as mp\npool = mp.ThreadPool(1)", "list(pool.imap_unordered(work, [{n}]))"),
    "imap over a generator": ("from multiprocessing.pool import ThreadPool\npool = ThreadPool(1)", "list(pool.imap(len, (str(work(n)) for n in [{n}])))"),
    "a callback of a result": (
        "from multiprocessing.pool import ThreadPool\npool = ThreadPool(1)",
        "import threading\ntold = threading.Event()\npool.apply_async(int, ({n},), callback=lambda n: (work(n), told.set()))\ntold.wait()",
    ),
    "a callback of a future": (
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(1)",
        "import threading\ngate, told = threading.Event(), threading.Event()\nf = pool.submit(gate.wait)\nf.add_done_callback(lambda f: (work({n}), told.set()))\ngate.set()\ntold.wait()",
    ),
    "a callback of a process": (
        "import multiprocessing, threading\nfrom concurrent.futures import ProcessPoolExecutor\n"
        "pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('fork'))",
        "f, told = pool.submit(int, {n}), threading.Event()\n"
        "f.add_done_callback(lambda f: (work({n}), told.set()))\ntold.wait()",
    ),
    "a callback of a pool of processes": (
        "import multiprocessing, threading\npool = multiprocessing.get_context('fork').Pool(1)",
        "told = threading.Event()\npool.apply_async(int, ({n},), callback=lambda n: (work(n), told.set()))\ntold.wait()",
    ),
    "a thread of a pool's thread": (
        "from concurrent.futures import ThreadPoolExecutor\nimport threading\npool = ThreadPoolExecutor(1)\n"
        "def inner(n):\n    t = threading.Thread(target=work, args=(n,)); t.start(); t.join()",
        "pool.submit(inner, {n}).result()",
    ),
    "a pool's task that submits": (
        "from concurrent.futures import ThreadPoolExecutor\npool, other = ThreadPoolExecutor(1), ThreadPoolExecutor(1)\n"
        "other.submit(int).result()",
        "pool.submit(lambda: other.submit(work, {n}).result()).result()",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("made", "call"), CALLS.values(), ids=CALLS.keys())
async def test_output_goes_to_the_cell_that_calls(session, made, call):
    await session.run(f"{WORK}\n{made}\n{call.format(n=1)}")
    cells = [await session.run(call.format(n=n)) for n in (2, 3)]

    assert [cell.error for cell in cells] == [None, None]
    assert [cell.text for cell in cells] == ["working on 2\n", "working on 3\n"]


async def test_a_call_that_outlives_its_cell_is_still_its_own(session):
    await session.run(
        f"{WORK}\nimport threading\nfrom concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(1)\ngate = threading.Event()"
    )
    asking = await session.run("f = pool.submit(lambda: (gate.wait(), work(2)))")
    ending = await session.run("gate.set()\nf.result() and None")

    await asking.said("working on 2\n")
    assert ending.text == ""


async def test_output_of_a_thread_outside_pools_belongs_to_the_cell_that_started_it(session):
    started = await session.run(
        "import queue, threading\nasked, done = queue.Queue(), queue.Queue()\n"
        "def serve():\n    while True:\n        print('serving', asked.get())\n        done.put(1)\n"
        "threading.Thread(target=serve, daemon=True).start()"
    )
    asking = await session.run("asked.put(2); done.get() and None")

    await started.said("serving 2\n")
    assert asking.text == ""


async def test_an_unreferenced_pool_of_threads_ends(session):
    code = (
        "import gc, threading, warnings\nfrom multiprocessing.pool import ThreadPool\nwarnings.simplefilter('ignore')\n"
        "pool = ThreadPool(2)\nassert pool.map(int, '12') == [1, 2]\npool.terminate(); pool.join()\ndel pool\n"
        "gc.collect()\n[each for each in gc.get_objects() if type(each) is ThreadPool]"
    )

    assert await session.value(code) == []


async def test_the_tracebacks_of_calls_have_no_frame_of_the_engine(session):
    cell = await session.run(
        "from concurrent.futures import ThreadPoolExecutor\nThreadPoolExecutor(1).submit(lambda: 1 / 0).result()"
    )

    assert "skep" not in cell.error.traceback
    assert 'thread.py", line' in cell.error.traceback


async def test_the_items_of_executors_can_be_made_as_before(session):
    code = (
        "import concurrent.futures.thread as thread, inspect\n"
        "[thread._WorkItem.run.__name__, thread._WorkItem.__init__.__name__]"
    )

    assert await session.value(code) == ["run", "__init__"]
