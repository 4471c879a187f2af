"""A session leaves its worker: the work of its tasks and threads is saved, exit handlers run, and an event names what ended."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

import skep

from ..session_processes import pid_of

pytestmark = pytest.mark.anyio

AT_WORK = """
import asyncio, threading
results = []
go, done = threading.Event(), threading.Event()
def work():
    go.wait(); results.append("thread"); open("made.txt", "w").write("made"); done.set(); threading.Event().wait()
threading.Thread(target=work, name="worker", daemon=True).start()
async def later():
    results.append("task"); go.set()
    await asyncio.to_thread(done.wait)
    print("ready", flush=True)
    await asyncio.Event().wait()
task = asyncio.create_task(later(), name="later"); None
"""
WHAT_CAME = "(results, open('made.txt').read())"


async def event(session, kind, **fields):
    """Wait for the first event of this kind and these fields."""
    async with contextlib.aclosing(session.events(follow=True)) as events:
        async for found in events:
            if found.kind == kind and all(getattr(found, name) == value for name, value in fields.items()):
                return found
    raise AssertionError(kind)


async def texts(session):
    """Return the output of all cells, including output after their ends."""
    return "".join([found.text async for found in session.events() if found.kind == "output"])


def is_there(path):
    return Path(path).exists()


async def at_work(session):
    """Run a cell whose task and thread change variables after its end, and keep running."""
    outcome = await session.run(AT_WORK)
    async with contextlib.aclosing(session.events(follow=True)) as events:
        async for found in events:
            if found.kind == "output" and "ready" in found.text:
                break
    return outcome


async def test_a_hibernated_session_has_the_work_of_its_tasks_and_threads(session):
    await at_work(session)
    await session.hibernate()
    told = await event(session, "session.hibernated")

    assert (told.tasks, told.threads) == (["later (later)"], ["worker"])
    assert (await session.run(WHAT_CAME)).value == (["task", "thread"], "made")
    assert [found.checkpoint async for found in session.events() if found.kind == "session.restored"] == ["1-1"]


async def test_a_rollback_saves_the_latest_state_first_so_it_can_be_undone(session):
    first = await session.run("results = []")
    await at_work(session)
    await session.rollback(first.checkpoint)
    told = await event(session, "session.rolled_back")
    back = (await session.run("results")).value
    await session.rollback(told.from_checkpoint)

    assert (told.from_checkpoint, told.tasks, told.threads) == ("2-1", ["later (later)"], ["worker"])
    assert back == []
    assert (await session.run(WHAT_CAME)).value == (["task", "thread"], "made")


async def test_a_session_that_moves_keeps_the_work_of_its_tasks_and_threads(shard, start_worker):
    first = await start_worker()
    session = shard.session("s")
    await at_work(session)
    await start_worker()
    assert await first.stop() == 0
    told = await event(session, "session.hibernated")

    assert (told.reason, told.threads) == ("its worker stops", ["worker"])
    assert (await session.run(WHAT_CAME)).value == (["task", "thread"], "made")


async def test_the_checkpoint_of_a_release_can_be_named_and_forked_and_its_forks_outlive_a_purge(cluster, session):
    await at_work(session)
    await session.hibernate()
    await event(session, "session.hibernated")
    await session.name_checkpoint("1-1", "left")
    fork = await session.fork(f"{session.id}-f")
    earlier = await session.fork(f"{session.id}-e", at="1-0")

    assert [(found.id, found.is_head, found.name) async for found in session.checkpoints()] == [
        ("1-0", False, None),
        ("1-1", True, "left"),
    ]
    assert (await fork.run(WHAT_CAME)).value == (["task", "thread"], "made")
    assert (await earlier.run("results")).value in ([], ["task"])
    await session.close(purge=True)
    await fork.close(purge=True)
    assert (await earlier.run("1")).value == 1


@pytest.mark.parametrize("durability", ["commit", "relaxed"])
async def test_a_session_without_later_work_saves_no_checkpoint_at_its_release(cluster, durability):
    session = cluster.session(f"still-{durability}", options=skep.SessionOptions(durability=durability))
    await session.run("x = [1]; class_ = type('C', (), {}); many = [class_() for _ in range(5)]")
    for _ in range(2):
        await session.hibernate()
        assert await session.variables()  # starts a process, which has nothing to save
    await session.hibernate()

    assert [found.id async for found in session.checkpoints()] == ["1-0"]


async def test_a_closed_session_says_what_ended_with_it(session):
    await session.run("import socket\nserver = socket.create_server(('127.0.0.1', 0))")
    port = (await session.run("server.getsockname()[1]")).value
    await at_work(session)
    await session.close()
    told = await event(session, "session.closed")

    assert (told.tasks, told.threads) == (["later (later)"], ["worker"])
    assert told.connections == [f"tcp 127.0.0.1:{port} (listening)"]


@pytest.mark.parametrize("how", ["close", "hibernate", "rollback", "stop"])
async def test_exit_handlers_run_when_a_session_leaves(shard, start_worker, shared_path, how):
    worker = await start_worker()
    mark, unflushed = shared_path / "mark", shared_path / "unflushed"
    session = shard.session("s")
    outcome = await session.run(
        f"import atexit, pathlib\natexit.register(lambda: pathlib.Path({str(mark)!r}).write_text('left in order'))\n"
        f"atexit.register(print, 'bye')\nf = open({str(unflushed)!r}, 'w'); f.write('not flushed')\n"
        "w = open('work.txt', 'w'); w.write('in the workspace')"
    )
    if how == "rollback":
        await session.rollback(outcome.checkpoint)
    elif how == "stop":
        assert await worker.stop() == 0
    else:
        await getattr(session, how)()
        await event(session, "session.closed" if how == "close" else "session.hibernated")

    assert mark.read_text() == "left in order"
    assert unflushed.read_text() == "not flushed"
    assert "bye\n" in await texts(session)
    if how == "hibernate":
        assert (await session.run("pathlib.Path('work.txt').read_text()")).value == "in the workspace"


async def test_a_handler_that_fails_or_hangs_is_reported_in_the_event(session):
    await session.run("import atexit, time\natexit.register(time.sleep, 999)\natexit.register(lambda: 1 / 0)")
    await session.hibernate()
    told = await event(session, "session.hibernated")

    assert "ZeroDivisionError" in told.notes[0]
    assert "LeaveTimeout" in told.notes[1]
    assert (await session.run("1")).value == 1


async def test_a_crash_runs_no_exit_handler(session, shared_path):
    mark = shared_path / "mark"
    await session.run(f"import atexit, os, pathlib\natexit.register(pathlib.Path({str(mark)!r}).touch)")
    outcome = await session.run("import os; os.kill(os.getpid(), 9)")

    assert outcome.status == "crashed"
    assert not mark.exists()


async def test_a_cell_submitted_while_the_session_is_released_runs_afterwards(session, gate):
    await session.run(f"import atexit\nx = 1\natexit.register(lambda: {gate.wait})")
    await session.hibernate()
    cell = await session.submit("x + 1")
    gate.open()

    assert (await cell.outcome()).value == 2


async def test_a_cell_submitted_during_a_rollback_runs_on_the_restored_state(session, gate):
    first = await session.run("x = 1")
    await session.run(f"import atexit\nx = 2\natexit.register(lambda: {gate.wait})")
    rollback = asyncio.create_task(session.rollback(first.checkpoint))
    await asyncio.sleep(0)
    while not rollback.done() and (await session.info()).seq < 3:
        cell = await session.submit("x")
    gate.open()
    with contextlib.suppress(skep.OperationFailed):  # the cell was submitted first
        await rollback

    assert (await cell.outcome()).value in {1, 2}
    assert (await session.run("x")).value in {1, 2}


async def test_an_object_of_the_checkpoint_keeps_its_directory_and_one_of_a_closed_session_does_not(session):
    path = (await session.run("import tempfile\ntmp = tempfile.TemporaryDirectory()\ntmp.name")).value
    await session.hibernate()
    await event(session, "session.hibernated")
    kept = is_there(path)
    await session.run("tmp = tempfile.TemporaryDirectory(dir='.'); tmp.name")
    await session.hibernate()
    again = (await session.run("import os\nos.path.isdir(tmp.name)")).value
    path = (await session.run("other = tempfile.TemporaryDirectory()\nother.name")).value
    await session.close()

    assert (kept, again, is_there(path)) == (True, True, False)


SAVED_LATER = [
    "x = 1",
    "g = (n for n in range(3)); next(g)",
    "import threading; lock = threading.Lock(); lock.acquire()",
    "f = open('/dev/null')",
]


@pytest.mark.parametrize("code", SAVED_LATER, ids=["plain", "generator", "lock", "file"])
async def test_a_session_can_be_hibernated_and_rolled_back_straight_after_an_outcome(cluster, code):
    for number in range(5):
        session = cluster.session(f"at-once-{SAVED_LATER.index(code)}-{number}")
        await session.run(code)
        await session.hibernate()
        first = await session.run("y = 1")
        await session.run(f"y = 2\n{code}")
        await session.rollback(first.checkpoint)

        assert (await session.run("y")).value == 1


async def test_a_session_can_be_neither_hibernated_nor_rolled_back_while_a_cell_runs(session, gate, first_output):
    first = await session.run("x = 1")
    running = await session.submit(f"print('now', flush=True)\n{gate.wait}")
    await first_output(running)
    with pytest.raises(skep.OperationFailed, match="running or waiting"):
        await session.hibernate()
    with pytest.raises(skep.OperationFailed, match="running or waiting"):
        await session.rollback(first.checkpoint)
    gate.open()

    assert (await running.outcome()).status == "finished"


async def test_a_fenced_worker_ends_its_processes_without_exit_handlers(shard, start_worker, process_end, shared_path):
    first = await start_worker()
    mark = shared_path / "mark"
    session = shard.session("s")
    await session.run(f"import atexit, pathlib\natexit.register(pathlib.Path({str(mark)!r}).touch)")
    pid = await pid_of(session)
    os.kill(first.pid, signal.SIGSTOP)
    await start_worker()
    assert await pid_of(session) != pid
    os.kill(first.pid, signal.SIGCONT)
    await process_end(pid)

    assert not mark.exists()
