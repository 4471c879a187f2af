"""The control groups of sessions: each process is in its own from the start, and none is left behind."""

import os
import secrets
import signal
from pathlib import Path

import pytest

import skep
from skep_shared.process_trees import process_id
from skep_shared.protocol.orphans import children_of

from ..session_processes import name_of, pid_named
from .enforcement import MECHANISMS, groups_of

pytestmark = pytest.mark.anyio

OWN = "open('/proc/self/cgroup').read()"
LIMITS = skep.Limits(memory_bytes=2**30, processes=200)


@pytest.fixture(params=MECHANISMS)
def mechanism(request):
    """One of the ways in which limits can be enforced here."""
    return request.param


@pytest.fixture
async def worker(start_worker, mechanism):
    """A worker that enforces limits in this way."""
    return await start_worker("--cgroups", MECHANISMS[mechanism])


def limited(shard, **options):
    """Return a session that needs every controller."""
    name = f"s-{secrets.token_hex(6)}"
    return shard.session(name, options=skep.SessionOptions(limits=LIMITS, **options))


def own_group(text):
    """Return the groups of /proc/PID/cgroup that a worker has made, by controller."""
    lines = (line.split(":", 2) for line in text.splitlines())
    return {names: path for _, names, path in lines if "/skep-" in path}


def groups_text(pid):
    """Return /proc/PID/cgroup."""
    return Path(f"/proc/{pid}/cgroup").read_text()


async def test_a_session_is_in_a_group_of_its_own_before_its_first_code(shard, worker, mechanism):
    session = limited(shard)
    cells = [
        "import subprocess, sys; seen = []",
        f"seen.append({OWN}); seen.append(subprocess.run(['cat', '/proc/self/cgroup'], capture_output=True, text=True).stdout)",
        "seen",
    ]
    outcomes = [await session.run(cell) for cell in cells]

    own, of_child = map(own_group, outcomes[-1].value)
    assert own == of_child
    assert own_group(groups_text(worker.pid)) == {}
    assert len(own) == len(groups_of(worker.pid)) == (0 if mechanism == "watch" else 3)


async def test_two_sessions_have_different_groups(shard, worker, mechanism):
    groups = [own_group((await limited(shard).run(OWN)).value) for _ in range(2)]

    assert (groups[0] == groups[1]) == (mechanism == "watch")


async def test_a_session_without_limits_has_only_a_weight(shard, worker, mechanism):
    outcome = await shard.session("s").run(OWN)

    controllers = {name for names in own_group(outcome.value) for name in names.split(",")}
    assert controllers & {"cpu", "memory", "pids"} == (set() if mechanism == "watch" else {"cpu"})


async def test_a_live_fork_is_in_its_own_group(shard, worker, mechanism):
    origin = limited(shard)
    await origin.run("x = 1")
    fork = await origin.fork(f"{origin.id}-fork")

    groups = [own_group((await session.run(OWN)).value) for session in (origin, fork)]

    assert (groups[0] == groups[1]) == (mechanism == "watch")


async def test_the_group_ends_with_its_process(shard, worker, eventually):
    session = limited(shard)
    await session.run("import subprocess; child = subprocess.Popen(['sleep', '3600'], start_new_session=True)")

    await session.hibernate()

    async def is_removed():
        return groups_of(worker.pid) == []

    await eventually(is_removed)


async def test_the_group_ends_with_a_process_that_crashes(shard, worker, eventually):
    session = limited(shard)
    await session.run("import subprocess; child = subprocess.Popen(['sleep', '3600'], start_new_session=True)")

    await session.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")

    async def is_removed():
        return groups_of(worker.pid) == []

    await eventually(is_removed)


async def test_the_groups_of_a_killed_worker_end_with_it(shard, worker, eventually):
    await limited(shard).run("1")
    killed = process_id(worker.pid)

    await worker.kill()

    async def is_removed():
        return groups_of(*killed, of_worker=True) == []

    await eventually(is_removed)


async def test_the_next_worker_ends_what_a_worker_has_left_that_was_killed_with_its_zygote(
    shard, worker, start_worker, mechanism, process_end
):
    session = limited(shard)
    await session.run("kept = 1")
    start = "subprocess.Popen(['sleep', '3600'], start_new_session=True)"
    child = pid_named((await session.run(f"import subprocess\nchild = {start}\n" + name_of("child.pid"))).value)
    killed = process_id(worker.pid)
    os.kill(killed.pid, signal.SIGSTOP)
    for pid in children_of(killed.pid):
        os.kill(pid, signal.SIGKILL)
    await worker.kill()

    await start_worker("--cgroups", MECHANISMS[mechanism])

    await process_end(child)
    assert groups_of(*killed, of_worker=True) == []
    assert (await session.run("kept")).value == 1


async def test_a_worker_removes_its_own_group_when_it_drains(shard, worker):
    session = limited(shard)
    await session.run("1")
    pid, started = process_id(worker.pid)

    await worker.stop()

    assert groups_of(pid, started, of_worker=True) == []


async def test_a_child_killed_for_its_memory_ends_the_cell_with_the_limit(shard, worker):
    session = shard.session("s", options=skep.SessionOptions(limits=skep.Limits(memory_bytes=160 * 2**20)))
    await session.run("kept = 1")

    outcome = await session.run(
        "import subprocess, sys\n"
        "code = 'parts = []\\nwhile True: parts.append(bytearray(b\"x\") * 2**20)'\n"
        "subprocess.run([sys.executable, '-c', code], check=True)"
    )

    assert outcome.error.ename == "LimitExceeded"
    assert "memory_bytes of 167,772,160" in outcome.error.evalue
    assert (await session.run("kept")).value == 1


async def test_a_cell_that_catches_what_its_limit_causes_ends_with_the_limit(shard, worker):
    session = shard.session("s", options=skep.SessionOptions(limits=skep.Limits(processes=40)))

    outcome = await session.run(
        "import threading, time\n"
        "try:\n"
        "    for _ in range(100): threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n"
        "except RuntimeError: pass\n"
        "else: time.sleep(3600)"
    )

    assert outcome.error.ename == "LimitExceeded"
    assert "processes of 40" in outcome.error.evalue


async def test_a_session_in_a_sandbox_is_in_its_group_and_can_not_leave_it(shard, start_worker, mechanism):
    worker = await start_worker("--cgroups", MECHANISMS[mechanism], "--sandbox", "basic")
    session = limited(shard)
    await session.run("1")
    groups = groups_of(worker.pid)
    assert len(groups) == (0 if mechanism == "watch" else 3)

    for group in groups:
        outside = group.parent.parent / "cgroup.procs"
        outcome = await session.run(f"open({str(outside)!r}, 'w')")
        assert outcome.error.ename == "PermissionError"
