"""A fork of a session that idles on the same worker forks its live process; the result equals a restored one."""

import asyncio
import os
import secrets
import signal
from pathlib import Path

import pytest
from tests.integration.cells.random_cells import cells

import skep

from ..session_processes import name_of, pid_named, pid_of, zygote_of

pytestmark = pytest.mark.anyio

ALL_KINDS = """
from __future__ import annotations
import dataclasses, decimal, os, random, sys, threading, warnings
random.seed(5)
decimal.getcontext().prec = 7
warnings.simplefilter("ignore", UserWarning)
os.environ["ADDED"] = "yes"
os.mkdir("below"); os.symlink("below", "link")
with open("below/file", "w") as file: file.write("text")
os.chmod("below/file", 0o640)
os.chdir("below")
sys.path.append("/nowhere")
big = bytearray(300_000)
alias = shared = [1, {"a": big}]
count = 0
def bump():
    global count
    count += 1
    return count
@dataclasses.dataclass
class Point:
    x: Missing
    made = []
point = Point(1); Point.made.append(point)
def cells_of(n=shared): return lambda: n
inner = cells_of()
lock, held, gone = threading.Lock(), threading.Lock(), (i for i in range(3))
held.acquire()
1 / 0
"""
TELL = """
[count, alias is shared, shared[0], len(shared[1]["a"]), inner() is shared, point == Point.made[0], point is Point.made[0],
 isinstance(point, Point), bump(), count, random.random(), str(decimal.Decimal(1) / 3), os.environ["ADDED"],
 os.path.relpath(os.getcwd(), os.path.dirname(os.getcwd())), open("file").read(), os.stat("file").st_mode,
 os.readlink("../link"), sys.path[-1], _, [name for name in ("held", "gone", "_exception") if name in globals()],
 [item[0] for item in warnings.filters if item[2] is UserWarning], sys.getrefcount(point) < 10,
 __import__("inspect").getsource(bump), lock.acquire(blocking=False)]
"""


DEAF = """
import ctypes, signal
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
print("runs", flush=True)
x = 2
ctypes.PyDLL(None).sleep(3600)  # holds the GIL
"""


@pytest.fixture(scope="module")
async def cluster():
    """One worker, so that every fork may be live."""
    async with skep.embedded() as cluster:
        yield cluster


@pytest.fixture
async def logged(shard, run_logged):
    """Return a function that starts a worker whose log can be read."""

    async def start(*flags):
        settings = shard.settings
        place = ("--redis", settings.redis_url, "--prefix", settings.prefix)
        worker = await run_logged("-m", "skep_workers", *place, "--lease-seconds", "1", *flags)
        await worker.says("worker.ready")
        return worker

    return start


async def forked(session):
    return await session.fork(f"f-{secrets.token_hex(6)}")


async def is_live(fork):
    """Return whether the fork's first process was forked from its origin's process."""
    return next(iter([event.is_live async for event in fork.events() if event.kind == "session.restored"]))


async def restored(session):
    """Return a fork that is restored, not live."""
    fork = await forked(session)
    await session.hibernate()
    return fork


async def test_a_live_fork_equals_a_restored_one(session):
    await session.run("6 * 7")
    assert (await session.run(ALL_KINDS)).status is skep.CellStatus.FAILED
    live = await forked(session)
    told = (await live.run(TELL)).value
    other = await restored(session)

    assert told == (await other.run(TELL)).value
    assert told[:2] == [0, True]
    assert [await is_live(live), await is_live(other)] == [True, False]
    losses = [
        [event.lost async for event in fork.events() if event.kind == "session.restored"] for fork in (live, other)
    ]
    assert losses[0] == losses[1]
    assert sorted(losses[0][0]) == ["gone", "held"]
    for fork in (live, other):
        error = (await fork.run("held")).error
        assert "it was lost after checkpoint 2-0" in error.evalue
        assert (await fork.run("def f(x: Unknown): pass")).ok  # the future import is still in effect


@pytest.mark.parametrize("seed", range(3))
async def test_after_random_cells_a_live_fork_equals_its_origin(session, seed):
    for code in cells(seed, 60):
        await session.submit(code)
    before = (await session.run("_describe()")).value
    fork = await forked(session)
    described = await fork.run("_describe()")

    assert described.ok, described.error.traceback
    assert described.value.splitlines() == before.splitlines()


async def test_origin_and_fork_are_independent(session):
    await session.run("x = [1]; import numpy as np; a = np.zeros(10)\ndef see(): return x\nopen('f', 'w').write('1')")
    fork = await forked(session)
    await fork.run("x.append(2); a[0] = 2; open('f', 'w').write('fork'); open('g', 'w').close()")
    await session.run("x.append(3); a[0] = 3; open('f', 'w').write('origin')")

    tell = "[see(), a[0].item(), open('f').read(), sorted(__import__('os').listdir())]"
    assert await is_live(fork)
    assert (await fork.run(tell)).value == [[1, 2], 2.0, "fork", ["f", "g"]]
    assert (await session.run(tell)).value == [[1, 3], 3.0, "origin", ["f"]]
    assert (await fork.run("y = 1; print('said')")).text == "said\n"
    assert (await session.run("'y' in globals()")).value is False


async def test_the_end_of_one_process_does_not_affect_the_other(session, process_end):
    await session.run("x = 1")
    fork = await forked(session)
    pids = [await pid_of(session), await pid_of(fork)]
    os.kill(pids[0], signal.SIGKILL)
    await process_end(pids[0])
    assert await pid_of(fork) == pids[1]
    assert (await session.run("x")).value == 1

    pids[0] = await pid_of(session)
    os.kill(pids[1], signal.SIGKILL)
    await process_end(pids[1])
    assert await pid_of(session) == pids[0]
    assert (await fork.run("x")).value == 1


async def test_the_origin_keeps_no_process_or_descriptor_of_a_fork(session):
    look = "import os; [len(os.listdir('/proc/self/fd')), open(f'/proc/self/task/{os.getpid()}/children').read()]"
    await session.run("x = 1")
    before = (await session.run(look)).value
    forks = [await forked(session) for _ in range(3)]
    for fork in forks:
        assert (await fork.run(look)).value == before
        assert await is_live(fork)

    assert (await session.run(look)).value == before


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import threading, time; threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()", "threads"),
        ("import _thread, time; _thread.start_new_thread(time.sleep, (3600,))", "threads in it"),
        ("import asyncio; task = asyncio.create_task(asyncio.sleep(3600))", "tasks"),
        ("import asyncio; x = 1\nasync def change(): global x; x = 2\nasyncio.create_task(change())", "since"),
        ("import asyncio; x = []; asyncio.get_running_loop().call_soon(x.append, 1)", "since"),
        ("file = open('/dev/null')", "files"),
        ("import subprocess; child = subprocess.Popen(['sleep', '3600'])", "child processes"),
        ("import signal; signal.signal(signal.SIGUSR1, lambda *_: None)", "signals"),
        ("import mmap; page = mmap.mmap(-1, 4096)", "shares memory"),
        (
            "class Own:\n    def __getstate__(self): return {}\nown = Own(); own.x = 1",
            "a restore may make other values",
        ),
        ("import functools\n@functools.cache\ndef f(): return 1\nf()", "a restore may make other values"),
    ],
    ids=[
        "thread",
        "raw thread",
        "task",
        "ended task",
        "callback",
        "file",
        "child",
        "signal",
        "memory",
        "hook",
        "cache",
    ],
)
async def test_a_fork_is_restored_where_a_live_one_could_differ(shard, logged, code, reason):
    worker = await logged()
    session = shard.session("s")
    (await session.run(f"kept = [1]\n{code}")).raise_for_status()
    fork = await forked(session)

    assert (await fork.run("kept")).value == [1]
    assert not await is_live(fork)
    assert reason in (await worker.says("fork.not_live"))["reason"]
    assert (await session.run("kept")).value == [1]


async def test_a_fork_is_restored_while_its_origin_works(shard, logged, gate, first_output):
    worker = await logged()
    session = shard.session("s")
    await session.run("x = 1")
    cell = await session.submit(f"print('runs', flush=True); x = 2; {gate.wait}")
    await first_output(cell)
    fork = await forked(session)

    assert (await fork.run("x")).value == 1
    assert not await is_live(fork)
    assert "cells run" in (await worker.says("fork.not_live"))["reason"]
    gate.open()
    assert (await cell.outcome()).ok


async def test_a_fork_of_an_earlier_checkpoint_is_restored(session):
    for number in range(3):
        await session.run(f"x = {number}")
    fork = await session.fork(f"f-{secrets.token_hex(6)}", at="2-0")

    assert (await fork.run("x")).value == 1
    assert not await is_live(fork)


async def test_a_fork_is_restored_after_files_of_its_origin_changed(session, shard):
    await session.run("open('f', 'w').write('1'); import os")
    where = (await session.run("os.getcwd()")).value
    Path(where, "f").write_text("2")  # noqa: ASYNC240 - as an unknown process might
    fork = await forked(session)

    assert (await fork.run("open('f').read()")).value == "1"
    assert not await is_live(fork)


async def test_ten_concurrent_forks_are_all_live(session):
    await session.run("import os; x = list(range(1000)); big = bytes(50_000_000)")
    forks = await session.fork_many([f"{session.id}-{number}" for number in range(10)])
    outcomes = await asyncio.gather(*(fork.run("x.append(os.getpid()); len(x)") for fork in forks))

    assert [outcome.value for outcome in outcomes] == [1001] * 10
    assert [await is_live(fork) for fork in forks] == [True] * 10
    assert len({(await fork.run("x[-1]")).value for fork in forks}) == 10


async def test_a_fork_of_a_fork_is_live(session):
    await session.run("x = [1]")
    fork = await forked(session)
    await fork.run("x.append(2)")
    grandchild = await forked(fork)

    assert (await grandchild.run("x")).value == [1, 2]
    assert await is_live(grandchild)


async def test_recipes_run_in_a_fork(session):
    await session.run("import os; home = 'origin'\ndef make(): return [os.getpid()]\nmade = make()")
    await session.run("skep_restore('made', make); kept = made[0]")
    fork = await forked(session)

    assert (await fork.run("[made == [os.getpid()], kept == os.getpid()]")).value == [True, False]
    assert (await session.run("[made == [os.getpid()], kept == os.getpid()]")).value == [True, True]
    assert await is_live(fork)


async def test_a_fork_does_not_run_finalizers_that_remove_files_of_its_origin(session):
    await session.run("import os, tempfile; place = tempfile.TemporaryDirectory(); path = place.name")
    fork = await forked(session)

    assert (await fork.run("del place; import gc; gc.collect(); os.path.exists(path)")).value is True
    assert (await session.run("os.path.exists(path)")).value is True
    assert (await session.run("del place; os.path.exists(path)")).value is False
    assert await is_live(fork)


async def test_unchanged_variables_of_a_fork_are_not_stored_again(session, cluster):
    await session.run("import os; big = bytearray(os.urandom(5_000_000)); x = 1")
    fork = await forked(session)
    await fork.run("x = 2; y = bytearray(os.urandom(3_000))")
    redis, keys = cluster._link.redis, cluster._link.keys

    assert await is_live(fork)
    stored = await redis.execute_command("HVALS", keys.blobs(fork.id))
    assert sum(map(len, stored)) < 100_000
    await fork.hibernate()
    assert (await fork.run("[len(big), x, len(y)]")).value == [5_000_000, 2, 3_000]


async def test_unchanged_arrays_are_not_shared_between_origin_and_fork(session, cluster):
    array = pytest.importorskip("numpy").arange(3_000_000.0)
    await session.run("import numpy as np; a = np.arange(3_000_000.0)")
    for number in range(5):
        await session.run(f"x = {number}")  # from here on nothing of the array is hashed any more
    fork = await forked(session)
    for number in range(5):
        await fork.run(f"x = {number}; a[{number} * 500_000] = -1; 0")
        await session.run(f"a[{number} * 500_000 + 1] = -2; 0")
    assert await is_live(fork)

    for name, each, first, value in (("fork", fork, 0, -1), ("origin", session, 1, -2)):
        await each.hibernate()
        expected = array.copy()
        expected[[first + number * 500_000 for number in range(5)]] = value
        assert (await each.run("float(a.sum())")).value == float(expected.sum()), name
        assert (await each.run("a.min().item(), int((a < 0).sum())")).value == (value, 5), name


async def test_an_unused_random_state_is_not_shared_between_origin_and_fork(session):
    await session.run("import random")
    forks = [await forked(session) for _ in range(2)]

    assert len({(await fork.run("random.random()")).value for fork in forks}) == 2
    assert [await is_live(fork) for fork in forks] == [True, True]


async def test_cells_of_a_fork_are_interrupted_and_timed_out(session, first_output):
    await session.run("import time; x = 1")
    fork = await forked(session)
    for busy in ("time.sleep(3600)", "while True: pass"):
        cell = await fork.submit(f"print('runs', flush=True)\n{busy}")
        await first_output(cell)
        await cell.interrupt()
        assert (await cell.outcome()).status is skep.CellStatus.INTERRUPTED
    assert (await fork.run("time.sleep(3600)", timeout=0.1)).status is skep.CellStatus.TIMED_OUT

    assert (await fork.run("x")).value == 1
    assert await is_live(fork)


async def test_a_fork_that_ignores_interrupts_is_killed(shard, start_worker, first_output):
    await start_worker()
    options = skep.SessionOptions(interrupt_grace=0.1)
    session = shard.session("s", options=options)
    await session.run("x = 1")
    fork = await session.fork("f")
    cell = await fork.submit(DEAF)
    await first_output(cell)
    await cell.interrupt()

    assert (await cell.outcome()).status is skep.CellStatus.INTERRUPTED
    assert (await fork.run("x")).value == 1
    assert await is_live(fork)


async def test_a_fork_asks_for_input_and_answers_operations(session):
    await session.run("value = {'a': 1}")
    fork = await forked(session)
    cell = await fork.submit("input('name? ')")
    async for event in cell.events():
        if event.kind == "input.requested":
            await fork.answer("skep")

    assert (await cell.outcome()).value == "skep"
    assert [variable.name for variable in await fork.variables()] == ["value"]
    assert "value" in (await fork.complete("val", 3)).matches
    assert await is_live(fork)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("import os; os._exit(7)", "status 7"),
        ("import os, signal; os.killpg(0, signal.SIGKILL)", "SIGKILL"),
        ("import os; os.closerange(3, 65536)", "it closed its connection to the host"),
    ],
)
async def test_the_cause_of_a_forks_process_end_is_reported(session, code, cause):
    await session.run("x = 1")
    fork = await forked(session)
    assert (await fork.run("x")).value == 1
    crashed = await fork.run(code)

    assert await is_live(fork)
    assert crashed.status is skep.CellStatus.CRASHED
    assert cause in crashed.error.evalue
    assert (await session.run("x")).value == (await fork.run("x")).value == 1


async def test_flushed_output_of_a_crashed_fork_is_kept(session):
    await session.run("import os; print('said before', flush=True)")
    fork = await forked(session)
    crashed = await fork.run("for n in range(3): print(n, flush=True)\nos._exit(1)")

    assert await is_live(fork)
    assert (crashed.status, crashed.text) == (skep.CellStatus.CRASHED, "0\n1\n2\n")


async def test_output_of_every_kind_arrives_from_a_fork(session):
    await session.run("import os, sys, subprocess, logging; out = sys.stdout; logging.basicConfig(); show = display")
    fork = await forked(session)
    code = "print('a'); os.write(1, b'b\\n'); subprocess.run(['echo', 'c']); print('d', file=out); os.system('echo e');"
    outcome = await fork.run(code)

    assert await is_live(fork)
    assert outcome.text == "a\nb\nc\nd\ne\n"
    assert (await fork.run("out is sys.stdout")).value is True
    assert (await fork.run("show('shown')")).display
    assert (await session.run(code)).text == outcome.text
    assert "a warning" in (await fork.run("logging.warning('a warning')")).text


async def test_an_unraisable_exception_is_reported_in_a_fork(session):
    await session.run("class Own:\n    def __del__(self): raise ValueError('at its end')")
    fork = await forked(session)

    assert "ValueError: at its end" in (await fork.run("own = Own(); del own")).text
    assert await is_live(fork)


async def test_a_fork_has_no_latest_error(session):
    await session.run("import sys\ndef fails():\n    held = [1]\n    1 / 0")
    await session.run("fails()")
    fork = await forked(session)
    code = "[name for name in ('last_type', 'last_value', 'last_traceback', 'last_exc') if hasattr(sys, name)]"

    assert (await fork.run(code)).value == []
    assert await is_live(fork)
    assert "last_value" in (await session.run(code)).value


async def test_hooks_and_signals_work_in_a_fork(session, first_output):
    await session.run(
        "import _thread, signal, sys, threading, time\n"
        "before = sys.displayhook\nsys.displayhook = lambda value: before(value)"
    )
    fork = await forked(session)
    own = ["signal.raise_signal(signal.SIGINT)", "threading.Thread(target=_thread.interrupt_main).start()"]

    assert (await fork.run("42")).value == 42
    for code in own:
        outcome = await fork.run(f"{code}\ntime.sleep(3600)")
        assert (outcome.status, outcome.error.ename) == (skep.CellStatus.FAILED, "KeyboardInterrupt")
    cell = await fork.submit("print('ready')\ntime.sleep(3600)")
    await first_output(cell)
    await cell.interrupt()
    assert (await cell.outcome()).status is skep.CellStatus.INTERRUPTED
    assert await is_live(fork)


async def test_awaiting_and_background_tasks_work_in_a_fork(session):
    await session.run("import asyncio; done = []; await asyncio.sleep(0)")
    fork = await forked(session)
    await fork.run(
        "async def work():\n    await asyncio.sleep(0.01)\n    done.append(1)\ntask = asyncio.create_task(work())"
    )

    assert (await fork.run("await task; done")).value == [1]
    assert (await fork.run("asyncio.run(asyncio.sleep(0, 42))")).value == 42
    assert (await session.run("await asyncio.sleep(0, done)")).value == []
    assert await is_live(fork)


async def test_a_fork_moves_to_another_worker_like_any_session(shard, start_worker):
    first = await start_worker()
    session = shard.session("s")
    await session.run("x = [1]; open('f', 'w').write('1')")
    fork = await session.fork("f")
    await fork.run("x.append(2); open('f', 'w').write('2')")
    assert await is_live(fork)
    await fork.hibernate()
    assert (await fork.run("x.append(3); x")).value == [1, 2, 3]

    await start_worker()
    assert await first.stop() == 0
    assert (await fork.run("[x, open('f').read()]")).value == [[1, 2, 3], "2"]
    assert (await session.run("[x, open('f').read()]")).value == [[1], "1"]


async def test_a_fork_is_evicted_and_restored(shard, start_worker):
    await start_worker("--max-resident", "2")
    session = shard.session("s")
    await session.run("x = [1]")
    fork = await session.fork("f")
    await fork.run("x.append(2)")
    assert await is_live(fork)
    number = 0
    while (await fork.info()).owner:  # two others are enough if its last checkpoint is saved by then
        await shard.session(f"other-{number}").run("1")
        number += 1

    assert (await fork.run("x")).value == [1, 2]


async def test_forks_are_placed_on_their_origins_worker(shard, start_worker):
    for _ in range(2):
        await start_worker()
    session = shard.session("s")
    await session.run("x = 1")
    forks = await session.fork_many([f"f-{number}" for number in range(6)])
    for fork in forks:
        assert (await fork.run("x")).value == 1

    owner = (await session.info()).owner
    assert [(await fork.info()).owner for fork in forks] == [owner] * 6
    assert [await is_live(fork) for fork in forks] == [True] * 6


async def test_daemons_of_a_fork_end_with_it(session, process_end):
    await session.run("import subprocess")
    fork = await forked(session)
    shell = "setsid sleep 3600 >/dev/null 2>&1 & echo $!"
    pid = pid_named(
        (await fork.run(name_of(f"int(subprocess.run(['sh', '-c', {shell!r}], stdout=subprocess.PIPE).stdout)"))).value
    )
    assert await is_live(fork)
    os.kill(pid, 0)
    await fork.close()

    await process_end(pid)


async def test_without_the_zygote_of_its_origin_a_fork_is_restored(shard, logged, process_end):
    worker = await logged()
    session = shard.session("s")
    await session.run("x = 1")
    zygote = await zygote_of(session)
    worker.lines.clear()
    os.kill(zygote, signal.SIGKILL)
    await worker.says("zygote.started")
    fork = await forked(session)

    assert (await fork.run("x")).value == 1
    assert not await is_live(fork)
    assert "zygote" in (await worker.says("fork.not_live"))["reason"]


async def test_forks_end_with_their_killed_worker(shard, start_worker, process_end):
    worker = await start_worker()
    session = shard.session("s")
    pids = [await pid_of(session)]
    fork = await session.fork("f")
    pids.append(await pid_of(fork))
    assert await is_live(fork)
    await worker.kill()

    for pid in pids:
        await process_end(pid)


async def test_a_live_fork_begins_with_variables_and_directory_of_the_options_as_its_origin_has_left_them(cluster):
    options = skep.SessionOptions(env={"KEPT": "1", "CHANGED": "1", "REMOVED": "1", "TZ": "Asia/Kolkata"}, cwd="work/a")
    session = cluster.session(f"s-{secrets.token_hex(6)}", options=options)
    told = "import os, time; [os.environ.get(n) for n in ('KEPT', 'CHANGED', 'REMOVED')], time.tzname, os.getcwd()"
    await session.run("import os; open('f', 'w').close(); os.environ['CHANGED'] = '2'; del os.environ['REMOVED']")
    live = await forked(session)
    variables, zone, directory = (await live.run(told)).value
    other = await restored(session)

    assert (variables, zone) == (["1", "2", None], ("IST", "IST"))
    assert directory.endswith("/work/a")
    assert (await other.run(told)).value[:2] == (variables, zone)
    assert [await is_live(live), await is_live(other)] == [True, False]
    await live.run("os.chdir('..')")
    await live.hibernate()
    assert (await live.run("os.path.basename(os.getcwd()), os.listdir('a'), os.environ['KEPT']")).value == (
        "work",
        ["f"],
        "1",
    )
