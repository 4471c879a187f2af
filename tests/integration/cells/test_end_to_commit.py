"""Between the end of a cell's code and its commit nothing waits forever, whatever fails, hangs or was patched.

A cell shares its process with the engine, so a test's cell can inject a fault itself. Each step of the engine after a
cell is made to fail, and to hang. Each name of the standard library that test tools patch is patched, and each limit
that code can set is set. The cell always gets an outcome, which says why if there is no checkpoint; the live state
remains, and later cells run. Where a step hangs, interrupt, timeout, close, drain and SIGTERM still complete.
"""

import secrets
import signal

import pytest

import skep
from skep_workers.host.residency.checkpoint_deadline import SAVED_TOO_LATE

pytestmark = pytest.mark.anyio

SNAPSHOT_SECONDS = 1
OPTIONS = skep.SessionOptions(interrupt_grace=0.2)

SAVING = "skep_workers.session.checkpoint.saving"
# What the session's process does after a cell, in order: module, class and method.
MAIN_STEPS = {
    "reads the state": "skep_workers.session.checkpoint.surroundings.ambient:Ambient.read",
    "compares it with the last one": f"{SAVING}.last_snapshot:LastSnapshot.is_unchanged",
    "looks at large buffers": "skep_workers.session.checkpoint.unchanged.unchanged_buffers:UnchangedBuffers.find_unchanged",
    "pickles in place": f"{SAVING}.in_place_snapshots:InPlaceSnapshots.save",
    "makes a child": f"{SAVING}.child_snapshots:ChildSnapshots.start",
    "forks": f"{SAVING}.child:SnapshotChild.fork",
}
CHILD_STEPS = {
    "assembles": f"{SAVING}.assembling:Assembler.assemble",
    "packs the manifest": "skep_shared.checkpoints.manifest:Manifest.pack",
}
THREAD_STEPS = {
    "waits for the child": f"{SAVING}.child:SnapshotChild._reap",
    "reads what it made": f"{SAVING}.child:SnapshotChild._is_complete",
}
# Too large to be pickled in place, so a child process does it, which takes milliseconds: a busy machine must not make
# it exceed SNAPSHOT_SECONDS.
LARGE = "large = [object(), *range(1, 100_000)]"


def fault(step, what):
    """Return code that replaces a step of the engine by this, once the cell has ended."""
    module, _, path = step.partition(":")
    kind, _, name = path.partition(".")
    return f"import {module} as m\ndef step(*args, **options):\n    {what}\nm.{kind}.{name} = step\n"


FAIL = "raise ValueError('made to fail')"
HANG = "import threading; threading.Event().wait()"
HANG_DEAF = "while True:\n        try:\n            import time; time.sleep(1)\n        except BaseException: pass"


@pytest.fixture(scope="module")
def worker_constants():
    """Shorten the time after which the worker considers a silent process stuck, half a minute otherwise."""
    return {"skep_workers.host.residency.checkpoint_deadline:MARGIN_SECONDS": 3.0}


@pytest.fixture(scope="module")
async def cluster():
    """A worker with a short limit for snapshots."""
    flags = ("--snapshot-seconds", str(SNAPSHOT_SECONDS))
    async with skep.embedded(workers=1, worker_flags=flags) as cluster:
        yield cluster


@pytest.fixture
async def session(cluster):
    """A session that only this test uses."""
    session = cluster.session(f"s-{secrets.token_hex(6)}", options=OPTIONS)
    assert (await session.run("kept = [1]")).checkpoint == "1-0"
    return session


async def next_event(session, kind):
    """Wait for the first event of this kind."""
    async for event in session.events(follow=True):
        if event.kind == kind:
            return event
    raise AssertionError(f"the events ended without {kind}")


async def events_of_kind(session, kind):
    """Return the events of this kind."""
    return [event async for event in session.events() if event.kind == kind]


@pytest.mark.parametrize("step", (MAIN_STEPS | CHILD_STEPS | THREAD_STEPS).values())
async def test_a_step_that_fails_costs_only_the_checkpoint(session, step):
    outcome = await session.run(fault(step, FAIL) + LARGE)

    assert outcome.ok
    [failed] = await events_of_kind(session, "checkpoint.failed")
    assert (outcome.checkpoint, failed.after) == (None, 2)
    assert failed.reason
    assert outcome.warnings == (f"no checkpoint could be made: {failed.reason}",)
    later = await session.run("kept.append(2); len(large), kept")
    assert later.value == (100_000, [1, 2])


async def test_when_the_step_works_again_so_do_checkpoints(session):
    step = MAIN_STEPS["reads the state"]
    await session.run("import skep_workers.session.checkpoint.surroundings.ambient as a; before = a.Ambient.read")
    assert (await session.run(fault(step, FAIL))).checkpoint is None

    outcome = await session.run("a.Ambient.read = before; x = 5")
    assert (outcome.checkpoint, outcome.warnings) == ("4-0", ())
    await session.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert (await session.run("x")).value == 5


async def test_effects_without_a_checkpoint_are_reported_as_lost_when_their_process_ends(session):
    await session.run(fault(MAIN_STEPS["reads the state"], FAIL) + "kept.append(2)")
    await session.run("kept.append(3)")
    await session.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")

    assert (await session.run("kept")).value == [1]
    [lost] = [event for event in await events_of_kind(session, "warning") if event.category == "checkpoint.behind"]
    assert "cell 2 and those after it" in lost.message


async def test_a_session_whose_state_is_not_saved_does_not_hibernate(session):
    await session.run(fault(MAIN_STEPS["reads the state"], FAIL) + "kept.append(2)")

    with pytest.raises(skep.SkepError, match=r"in its process alone.*made to fail"):
        await session.hibernate()
    assert (await session.run("kept")).value == [1, 2]


async def test_a_session_whose_state_is_not_saved_is_not_hibernated_when_idle(shard, start_worker):
    """A second session, idle for less time, is hibernated: that is the signal."""
    await start_worker("--idle-seconds", "1")
    session, other = shard.session("s"), shard.session("other")
    await session.run("kept = [1]")
    await session.run(fault(MAIN_STEPS["reads the state"], FAIL) + "kept.append(2)")
    assert (await other.run("1")).ok
    assert await next_event(other, "session.hibernated")

    assert await events_of_kind(session, "session.hibernated") == []
    assert (await session.run("kept")).value == [1, 2]


# --- hanging ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", (CHILD_STEPS | THREAD_STEPS).values())
async def test_a_step_that_hangs_in_the_background_delays_no_later_cell(session, step):
    await session.run(LARGE)  # from then on a child saves the state; before, the main thread would begin to
    cell = await session.submit(fault(step, HANG) + "large.append(1)")
    later = await session.submit("len(large)")
    await cell.interrupt()

    outcome = await cell.outcome()
    assert outcome.status in {skep.CellStatus.FINISHED, skep.CellStatus.INTERRUPTED}
    if outcome.ok:  # otherwise it was interrupted before it began
        assert (await later.outcome()).value == 100_001


@pytest.mark.parametrize("what", [HANG, HANG_DEAF])
@pytest.mark.parametrize("step", MAIN_STEPS.values())
async def test_an_interrupt_ends_the_wait_for_a_step_that_hangs(session, step, what):
    cell = await session.submit("print('runs')\n" + fault(step, what) + LARGE)
    await first_event(cell, "output")
    await cell.interrupt()

    assert (await cell.outcome()).status in {skep.CellStatus.FINISHED, skep.CellStatus.INTERRUPTED}
    stuck = await session.submit("1")  # its process is stuck
    await stuck.interrupt()
    await stuck.outcome()
    assert (await session.run("kept")).value == [1]


@pytest.mark.parametrize(
    ("step", "durability"), [*((step, "commit") for step in MAIN_STEPS.values()), (MAIN_STEPS["forks"], "relaxed")]
)
async def test_a_step_that_hangs_while_no_cell_waits_for_it_delays_the_next_one_no_longer_than_its_deadline(
    cluster, step, durability
):
    """The wait of a cell with a timeout has ended by its limit, and with durability "relaxed" there is no wait."""
    session = cluster.session(
        f"s-{secrets.token_hex(6)}", options=OPTIONS.model_copy(update={"durability": durability})
    )
    await session.run("kept = [1]")
    hangs = await session.submit(fault(step, f"print('hangs', flush=True)\n    {HANG_DEAF}") + LARGE, timeout=30)
    assert (await hangs.outcome()).ok
    await next_event(session, "output")
    cells = [{"code": code, "on_worker_loss": "fail"} for code in ("kept.append(3); kept", "kept")]  # begin only once
    waiting = await session.submit_many(cells)

    assert [(await cell.outcome()).value for cell in waiting] == [[1, 3], [1, 3]]
    [warning] = [
        event for event in await events_of_kind(session, "warning") if event.category == "session.unresponsive"
    ]
    assert "has not begun cell 3" in warning.message


async def test_a_cell_that_an_interrupt_has_ended_waits_for_one_snapshot(cluster):
    """The interrupt may meet the code of a cell, too late to be heeded by what hangs after it.

    With a short grace period a busy machine would kill the process before it has told that its code has ended.
    """
    session = cluster.session(f"s-{secrets.token_hex(6)}", options=skep.SessionOptions(interrupt_grace=30.0))
    hangs = fault(MAIN_STEPS["reads the state"], HANG)
    code = f"{hangs}import threading\nprint('runs')\nthreading.Event().wait()"
    cell = await session.submit(code)
    await first_event(cell, "output")
    await cell.interrupt()

    outcome = await cell.outcome()
    assert (outcome.status, outcome.checkpoint) == (skep.CellStatus.INTERRUPTED, None)
    assert outcome.warnings == (f"no checkpoint could be made: {SAVED_TOO_LATE}",)


async def test_a_timeout_ends_the_wait_for_a_step_that_hangs(session):
    cell = await session.submit(fault(MAIN_STEPS["reads the state"], HANG), timeout=1)

    assert (await cell.outcome()).status in {skep.CellStatus.FINISHED, skep.CellStatus.TIMED_OUT}


@pytest.mark.parametrize("step", (MAIN_STEPS | CHILD_STEPS | THREAD_STEPS).values())
async def test_a_close_ends_the_wait_for_a_step_that_hangs(session, step):
    cell = await session.submit("print('runs')\n" + fault(step, HANG) + LARGE)
    await first_event(cell, "output")
    await session.close()

    assert (await cell.outcome()).status in {
        skep.CellStatus.FINISHED,
        skep.CellStatus.INTERRUPTED,
        skep.CellStatus.CRASHED,
    }


async def first_event(cell, kind):
    """Wait for a cell's first event of this kind."""
    async for event in cell.events():
        if event.kind == kind:
            return


@pytest.mark.parametrize(
    "step", [MAIN_STEPS["reads the state"], THREAD_STEPS["waits for the child"]], ids=["in the way", "beside"]
)
async def test_sigterm_ends_the_wait_for_a_step_that_hangs_and_the_next_owner_runs_it_again(
    shard, run_logged, start_worker, shared_path, step
):
    settings = shard.settings
    flags = ("--redis", settings.redis_url, "--prefix", settings.prefix, "--grace-seconds", "0.5")
    worker = await run_logged("-m", "skep_workers", *flags)
    await worker.says("worker.ready")
    session = shard.session("s", options=OPTIONS)
    await session.run("kept = [1]")
    once = f"import os\nprint('runs')\nif not os.path.exists({str(shared_path / 'ran')!r}):\n"
    body = f"open({str(shared_path / 'ran')!r}, 'w').close()\n{fault(step, HANG)}{LARGE}\n"
    cell = await session.submit(once + "".join(f"    {line}\n" for line in body.splitlines()) + "kept.append(2)\nkept")
    await first_event(cell, "output")
    await start_worker()
    worker.send_signal(signal.SIGTERM)

    assert await worker.exit_status() == 0
    outcome = await cell.outcome()
    assert (await session.run("kept")).value in ([1, 2], [1])
    assert outcome.status in {skep.CellStatus.FINISHED, skep.CellStatus.INTERRUPTED, skep.CellStatus.CRASHED}


# --- patched ------------------------------------------------------------------------------------------------------

MOCKED = [
    "builtins.open", "builtins.print", "builtins.input", "io.open", "os.fork", "os.open", "os.read", "os.write",
    "os.close", "os.stat", "os.fstat", "os.scandir", "os.listdir", "os.getpid", "os.getcwd", "os.path.join",
    "os.path.exists", "os.pidfd_open", "os.waitpid", "os.kill", "os.memfd_create", "os.pipe2", "os.urandom",
    "os.eventfd_write", "os.sendfile", "os._exit", "time.sleep", "time.time", "time.monotonic", "time.perf_counter",
    "time.perf_counter_ns", "threading.Thread", "threading.Thread.start", "threading.Lock", "threading.Event",
    "threading.Condition", "threading.get_ident", "threading.current_thread", "threading.enumerate", "select.poll",
    "select.epoll", "select.select", "selectors.DefaultSelector", "socket.socket", "socket.socketpair",
    "subprocess.Popen", "subprocess.run", "signal.signal", "signal.getsignal", "signal.pthread_kill",
    "signal.pthread_sigmask", "signal.setitimer", "fcntl.fcntl", "resource.getrlimit", "resource.setrlimit",
    "gc.collect", "gc.get_stats", "gc.get_objects", "pickle.dumps", "pickle.Pickler", "pickle.loads", "copyreg.dispatch_table",
    "json.dumps", "asyncio.sleep", "asyncio.create_task", "asyncio.get_running_loop", "asyncio.current_task",
    "asyncio.all_tasks", "asyncio.Task", "linecache.getlines", "traceback.TracebackException", "mmap.mmap",
    "warnings.catch_warnings", "queue.SimpleQueue", "tempfile.mkdtemp", "shutil.rmtree", "pathlib.Path", "sys.getrefcount",
]  # fmt: skip


@pytest.mark.parametrize("effect", ["", ", side_effect=RuntimeError('mocked')"], ids=["mocked", "raises"])
@pytest.mark.parametrize("name", MOCKED)
async def test_a_patch_that_a_test_tool_left_in_place_stops_no_later_cell(session, name, effect):
    """Run cells of each kind, with a state that is too large to be pickled in place."""
    patching = await session.submit(
        f"import unittest.mock as um\npatch = um.patch({name!r}{effect})\npatched = patch.start()\n{LARGE}\n1"
    )
    assert (await patching.outcome()).value == 1
    kinds = await session.submit_many(
        ["kept.append(2); 2", "1 / 0", "import select as s\n3", f"more = list(large)\n{LARGE}\n4"]
    )
    plain, failing, third, fourth = [await cell.outcome() for cell in kinds]
    assert (plain.value, third.value, fourth.value) == (2, 3, 4)
    assert failing.error.ename == "ZeroDivisionError"
    back = await session.run("um.patch.stopall(); del patch, patched, um; len(large), kept")
    assert back.value == (100_000, [1, 2])
    while (
        await session.run("kept")
    ).checkpoint is None:  # a busy machine may need a few cells until a checkpoint is complete
        pass


async def test_a_patched_import_that_fails_for_cells_does_not_fail_for_the_engine(session):
    patch = "import unittest.mock as um\npatch = um.patch('builtins.__import__', side_effect=RuntimeError('no'))"
    assert (await session.run(f"{patch}\nstarted = patch.start()\n{LARGE}\n1")).value == 1
    later = await session.submit_many(["kept.append(2); 2", "1 / 0", "import json", "[3]"])
    plain, failing, importing, last = [await cell.outcome() for cell in later]
    assert (plain.value, failing.error.ename, importing.error.evalue, last.value) == (2, "ZeroDivisionError", "no", [3])
    assert "1 / 0" in failing.error.traceback
    back = await session.run("patch.stop(); del patch, started, um; len(large), kept")
    assert back.value == (100_000, [1, 2])
    assert back.checkpoint is not None


FAKED_EVERYWHERE = """
import builtins, io, os, posixpath, sys, time, types
def missing(*args, **options): raise FileNotFoundError("no such file in the fake file system")
fakes = {}
for module, names in ((os, "open stat lstat listdir scandir mkdir"), (io, "open"), (time, "sleep monotonic")):
    fakes[module] = types.ModuleType(module.__name__)
    vars(fakes[module]).update(vars(module), **dict.fromkeys(names.split(), missing))
functions = {id(vars(module)[name]): missing for module, fake in fakes.items() for name in vars(fake)
             if vars(fake)[name] is missing}
changed = []
for module in list(sys.modules.values()):
    if module in (os, io, time, sys) or not hasattr(module, "__dict__"): continue
    for name, value in list(vars(module).items()):
        fake = fakes.get(value) if isinstance(value, types.ModuleType) else functions.get(id(value))
        if fake is not None:
            changed.append((module, name, value))
            setattr(module, name, fake)
"""


async def test_a_tool_that_replaces_modules_and_functions_wherever_they_are_imported_stops_no_later_cell(session):
    """pyfakefs does this with the file system, and freezegun with clocks."""
    assert (await session.run(f"{LARGE}\n1")).value == 1
    assert (await session.run(f"{FAKED_EVERYWHERE}\n2")).value == 2
    later = await session.submit_many(["kept.append(2); 3", "1 / 0", f"{LARGE}\n4"])
    outcomes = [await cell.outcome() for cell in later]
    assert [outcome.value for outcome in outcomes] == [3, None, 4]
    assert outcomes[-1].checkpoint is not None
    back = "for module, name, value in changed: setattr(module, name, value)\ndel changed, fakes, functions\n"
    outcome = await session.run(f"{back}len(large), kept")
    assert outcome.value == (100_000, [1, 2])
    assert outcome.checkpoint is not None


async def test_clocks_frozen_by_freezegun_stop_neither_timeouts_nor_checkpoints(session):
    frozen = "from freezegun import freeze_time\nimport datetime, time\nfr = freeze_time('2020-01-01'); fr.start()\n"
    assert (await session.run(f"{frozen}datetime.date.today().isoformat()")).value == "2020-01-01"
    assert (await session.run(f"import asyncio; await asyncio.sleep(0.01); time.sleep(0.01)\n{LARGE}")).ok
    assert (await session.run("time.sleep(3600)", timeout=0.5)).status is skep.CellStatus.TIMED_OUT
    hanging = "class Hangs:\n    def __getstate__(self): time.sleep(3600)\nhangs = Hangs()"
    assert (await session.run(hanging)).checkpoint is not None  # after its deadline, without that variable
    assert (await session.run("del hangs; fr.stop(); datetime.date.today().year > 2020")).value is True


async def test_an_interrupt_ends_a_cell_under_gevent(session):
    assert (await session.run("import gevent.monkey; gevent.monkey.patch_all(); 1")).value == 1
    assert (await session.run("import asyncio; await asyncio.sleep(0); 2")).value == 2
    assert (await session.run(f"{LARGE}\n3")).value == 3
    cell = await session.submit("import time\nprint('runs')\ntime.sleep(3600)")
    await first_event(cell, "output")
    await cell.interrupt()

    assert (await cell.outcome()).status is skep.CellStatus.INTERRUPTED
    assert (await session.run("len(large)")).value == 100_000


# --- limits and signals -----------------------------------------------------------------------------------------------

LIMITS = {
    "size of files": "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, -1))",
    "processes and threads": "resource.setrlimit(resource.RLIMIT_NPROC, (1, resource.getrlimit(resource.RLIMIT_NPROC)[1]))",
    "open files": "resource.setrlimit(resource.RLIMIT_NOFILE, (20, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))",
    "open files, all used up": (
        "resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))\nused = []\n"
        "try:\n    while True: used.append(os.dup(0))\nexcept OSError: pass"
    ),
    "memory": "resource.setrlimit(resource.RLIMIT_AS, (int(open('/proc/self/statm').read().split()[0]) * 4096 + 2**22, -1))",
    "depth of calls": "import sys; sys.setrecursionlimit(60)",
    "standard input": "os.close(0)",
    "standard input and output": "os.close(0); os.close(1)",
    "rights of new files": "os.umask(0o777)",
}


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS.keys())
async def test_a_limit_that_code_set_or_exhausted_stops_no_later_cell(session, limit):
    assert (await session.run(f"import os, resource\n{LARGE}\n1")).value == 1
    limited = await session.run(f"{limit}\n2")
    assert limited.value == 2, limited.error
    assert limited.checkpoint is not None, limited.warnings
    assert (await session.run("kept.append(2); kept")).value == [1, 2]
    assert (await session.run("1 / 0")).error.ename == "ZeroDivisionError"
    changed = await session.run("large[0] = 5; len(large)")
    assert (changed.value, changed.checkpoint) == (100_000, changed.checkpoint)
    assert changed.checkpoint is not None, changed.warnings


async def test_a_hard_limit_that_prevents_checkpoints_is_reported_and_later_cells_run(session):
    await session.run(f"import resource\n{LARGE}")
    outcome = await session.run("resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); large.append(1)")

    assert (outcome.ok, outcome.checkpoint) == (True, None)
    assert "File too large" in outcome.warnings[0]
    assert (await session.run("len(large)")).value == 100_001


RAISING = """
import signal
class Alarm(Exception): pass
def on_alarm(*_): raise Alarm("it rang")
signal.signal(signal.SIGALRM, on_alarm)
"""


@pytest.mark.parametrize("when", [0.0001, 0.001, 0.01])
async def test_a_signal_handler_that_raises_ends_cells_and_never_the_engine(session, when):
    await session.run(RAISING + LARGE)
    for number in range(10):
        outcome = await session.run(f"signal.setitimer(signal.ITIMER_REAL, {when}); {number}")
        assert outcome.ok or outcome.error.ename == "Alarm", outcome.error
    assert (await session.run("signal.setitimer(signal.ITIMER_REAL, 0); len(large)")).value == 100_000
    assert {event.kind for event in await events_of_kind(session, "session.restored")} == set()


async def test_a_signal_handler_that_raises_is_raised_where_the_cell_awaits(session):
    outcome = await session.run(
        RAISING + "import asyncio\nsignal.setitimer(signal.ITIMER_REAL, 0.05)\nawait asyncio.Event().wait()"
    )

    assert (outcome.status, outcome.error.ename) == (skep.CellStatus.FAILED, "Alarm")
    assert "on_alarm" in outcome.error.traceback
    assert "skep_workers" not in outcome.error.traceback
