"""Sessions that run into their limits: only they end, and they go on from the checkpoint before."""

import asyncio
import os
import secrets
from contextlib import aclosing
from pathlib import Path

import pytest

import skep

from ..session_processes import OWN_NAME
from .enforcement import MECHANISMS, groups_of

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
WORKER_BYTES = 16 * MIB  # that a worker's memory may grow by during a test
FORK = "import os, time\nwhile True:\n    if os.fork() == 0: time.sleep(3600)"
DAEMONS = """
import os, time
while True:
    if os.fork() == 0:
        os.setsid()
        if os.fork(): os._exit(0)
        time.sleep(3600)
"""
EXPONENTIAL = "import os\nwhile True: os.fork()"
THREADS = """
import threading, time
while True: threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
"""
MEMORY = "parts = []\nwhile True: parts.append(b'x' * 2**20)"
MEMORY_OF_MANY = """
import os, time
for _ in range(10):
    if os.fork() == 0:
        part = bytearray(b'x') * 30_000_000
        time.sleep(3600)
time.sleep(3600)
"""
DISK = "with open('large', 'wb') as file:\n    while True: file.write(bytes(2**20))"
INODES = "n = 0\nwhile True:\n    n += 1\n    open(f'file-{n}', 'w').close()"
OUTPUT = "while True: print('x' * 1000)"
CPU = "while True: pass"
CPU_OF_CHILD = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'while True: pass'], pass_fds=[held])"
BOMBS = {
    "fork": (FORK, {"processes": 40}),
    "daemons": (DAEMONS, {"processes": 40}),
    "exponential": (EXPONENTIAL, {"processes": 40}),
    "threads": (THREADS, {"processes": 40}),
    "memory": (MEMORY, {"memory_bytes": 160 * MIB}),
    "memory of many": (MEMORY_OF_MANY, {"memory_bytes": 200 * MIB}),
    "disk": (DISK, {"workspace_bytes": 32 * MIB}),
    "inodes": (INODES, {"workspace_files": 500}),
    "output": (OUTPUT, {"output_bytes": 100_000}),
    "cpu": (CPU, {"cpu_seconds": 0.5}),
    "cpu of a child": (CPU_OF_CHILD, {"cpu_seconds": 0.5}),
}


@pytest.fixture(scope="module", params=MECHANISMS)
async def cluster(request):
    """Two workers that enforce limits in this way."""
    async with skep.embedded(workers=2, worker_flags=("--cgroups", MECHANISMS[request.param])) as cluster:
        yield cluster


def limited(cluster: skep.Cluster, **limits: float) -> skep.Session:
    """Return a new session with these limits."""
    options = skep.SessionOptions(limits=skep.Limits(**limits))
    return cluster.session(f"s-{secrets.token_hex(6)}", options=options)


@pytest.fixture
def held_pipe(shared_path):
    """A FIFO for a session and all its descendants to hold open, and a function that waits until none does."""
    path = shared_path / "held"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    async def wait_for_end():
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(reader, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(reader)

    yield path, wait_for_end
    os.close(reader)


def proportional_bytes(pid: int) -> int:
    """Return the memory of a process, where shared pages are divided."""
    [line] = [line for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:")]
    return int(line.split()[1]) * 1024


@pytest.fixture
async def nothing_is_left(cluster, eventually):
    """Wait after the test until its workers have the groups, mounts and memory that they had before."""
    pids = [worker.pid async for worker in cluster.workers()]

    def state():
        return {pid: (len(groups_of(pid)), Path(f"/proc/{pid}/mountinfo").read_text()) for pid in pids}

    before, memory = state(), {pid: proportional_bytes(pid) for pid in pids}
    yield

    async def is_as_before():
        return state() == before and all(proportional_bytes(pid) < memory[pid] + WORKER_BYTES for pid in pids)

    for session in [info.id async for info in cluster.sessions()]:
        await cluster.session(session).close()
    await eventually(is_as_before)


@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.parametrize("kind", BOMBS)
async def test_only_the_session_beyond_its_limit_ends(cluster, session, gate, held_pipe, eventually, kind):
    code, limits = BOMBS[kind]
    [name] = limits
    path, wait_for_end = held_pipe
    hostile = limited(cluster, **limits)
    await hostile.run("kept = 1")
    before = await hostile.run(f"import os\nheld = os.open({str(path)!r}, os.O_WRONLY)\n{OWN_NAME}, os.getcwd()")
    neighbour = await session.run(OWN_NAME)
    waiting = await session.submit(f"{gate.wait}\n{OWN_NAME}")

    outcome = await hostile.run(code)

    assert outcome.status is skep.CellStatus.CRASHED
    assert outcome.error.ename == "LimitExceeded"
    assert f"{name} of {limits[name]:,}" in outcome.error.evalue
    assert any(name in warning for warning in outcome.warnings)
    gate.open()
    assert (await waiting.outcome()).value == neighbour.value
    await wait_for_end()
    process, directory = before.value
    after = await hostile.run(f"import os\nkept, {OWN_NAME}, os.listdir()")
    assert (after.value[0], after.value[2]) == (1, [])
    assert after.value[1] != process

    async def nothing_is_left_to_remove():
        removed = Path(directory).parent / ".removed"
        return not removed.exists() or not any(removed.iterdir())

    await eventually(nothing_is_left_to_remove)


async def test_a_session_beyond_its_limit_between_cells_ends_and_goes_on(cluster):
    session = limited(cluster, processes=40)
    await session.run("kept = 1")
    cell = await session.run(
        "import asyncio, threading, time\n"
        "async def bomb():\n"
        "    await asyncio.sleep(0.5)\n"
        "    for _ in range(60): threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n"
        "task = asyncio.create_task(bomb())"
    )
    assert cell.ok

    async with aclosing(session.events(follow=True)) as events:
        async for event in events:
            if event.kind == "warning" and event.category == "limit.exceeded":
                break

    assert "processes of 40" in event.message
    assert (await session.run("kept")).value == 1


async def test_a_cell_that_ended_beyond_the_limit_does_not_run_again_and_again(cluster):
    session = limited(cluster, workspace_bytes=MIB)
    await session.run("kept = 1")

    outcome = await session.run("open('large', 'wb').write(bytes(200_000_000)); None")

    assert outcome.status in {skep.CellStatus.CRASHED, skep.CellStatus.FINISHED}
    assert (await session.run("kept")).value == 1


async def test_a_cell_ends_at_the_limit_of_its_time(cluster):
    session = limited(cluster, wall_seconds=0.3)

    outcome = await session.run("while True: pass", timeout=60)

    assert outcome.status is skep.CellStatus.TIMED_OUT
    assert "wall_seconds" in outcome.error.traceback
    assert any("wall_seconds" in warning for warning in outcome.warnings)


async def test_a_cell_that_does_not_heed_its_time_is_killed_and_names_the_limit(cluster):
    options = skep.SessionOptions(limits=skep.Limits(wall_seconds=0.3), interrupt_grace=0.05)
    session = cluster.session(f"s-{secrets.token_hex(6)}", options=options)

    outcome = await session.run(
        "import time\nwhile True:\n    try:\n        while True: time.sleep(1)\n    except BaseException: pass"
    )

    assert outcome.status is skep.CellStatus.TIMED_OUT
    assert "wall_seconds" in f"{outcome.error.evalue} {outcome.error.traceback}"


async def test_the_processor_time_of_earlier_cells_does_not_count(cluster):
    session = limited(cluster, cpu_seconds=0.5)
    busy = "import time\nuntil = time.process_time() + 0.3\nwhile time.process_time() < until: pass"

    outcomes = [await session.run(busy) for _ in range(3)]

    assert all(outcome.ok for outcome in outcomes)


async def test_output_below_the_limit_is_complete(cluster):
    session = limited(cluster, output_bytes=10_000)

    outcomes = [await session.run("print('x' * 9000)") for _ in range(3)]

    assert [len(outcome.text) for outcome in outcomes] == [9001] * 3


async def test_a_client_without_the_options_is_bound_by_the_limits(cluster):
    session = limited(cluster, cells_per_minute=2)
    await session.run("1")
    await cluster.session(session.id).run("2")

    with pytest.raises(skep.RateExceeded) as caught:
        await cluster.session(session.id).run("3")

    assert (caught.value.session_id, caught.value.cells, caught.value.limit) == (session.id, 1, 2)
    assert 0 < caught.value.seconds <= 30


async def test_a_session_has_its_own_limit_of_pending_cells(cluster, gate):
    session = limited(cluster, pending_cells=1)
    waiting = await session.submit(gate.wait)

    with pytest.raises(skep.BacklogFull) as caught:
        await session.submit("2")

    assert caught.value.limit == 1
    gate.open()
    await waiting.outcome()


async def test_a_checkpoint_leaves_out_what_exceeds_its_limit(cluster):
    session = limited(cluster, checkpoint_bytes=100_000)

    await session.run("small = 1; large = bytes(200_000)")

    async with aclosing(session.events(follow=True)) as events:
        async for event in events:
            if event.kind == "checkpoint.partial":
                break
    assert list(event.lost) == ["large"]


async def test_the_maximum_of_the_worker_applies_to_sessions_without_limits(shard, start_worker):
    await start_worker("--limits-processes", "40")
    session = shard.session("s")

    outcome = await session.run(FORK)

    assert outcome.error.ename == "LimitExceeded"
    assert (await session.info()).limits.processes == 40


async def test_the_lower_one_of_a_limit_and_the_workers_maximum_applies(shard, start_worker):
    await start_worker("--limits-processes", "40", "--limits-cpu-seconds", "60")
    session = limited(shard, processes=50, cpu_seconds=9)
    await session.run("1")

    limits = (await session.info()).limits

    assert (limits.processes, limits.cpu_seconds) == (40, 9)


async def test_a_limit_above_the_maximum_is_refused_before_anything_is_written(shard):
    settings = shard.settings.model_copy(update={"limits_processes": 40})
    async with skep.connect(settings=settings) as client:
        with pytest.raises(skep.InvalidArgument) as caught:
            limited(client, processes=50)

        assert (caught.value.field, caught.value.value) == ("limits.processes", 50)
        assert [info.id async for info in client.sessions()] == []


async def test_many_sessions_run_into_their_limits_at_once(cluster):
    sessions = [limited(cluster, processes=40) for _ in range(4)]

    outcomes = await asyncio.gather(*(session.run(THREADS) for session in sessions))

    assert {outcome.error.ename for outcome in outcomes} == {"LimitExceeded"}
