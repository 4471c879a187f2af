"""Processes that a session has detached end with its process, and its files are removed with its worker."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

import skep

from ..session_processes import OWN_NAME, name_of, pid_named, zygote_of

pytestmark = [pytest.mark.anyio, pytest.mark.real_start]

# A textbook daemon: forked twice, with its own session; and one that was started as a program.
DAEMONS = """
import os, subprocess, signal, time
def daemonise():
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
            os.write(write, str(os.getpid()).encode())
            for fd in range(3, 1024):
                try: os.close(fd)
                except OSError: pass
            time.sleep(3600)
        os._exit(0)
    os.wait()
    return int(os.read(read, 20))
shell = subprocess.run(["sh", "-c", "setsid sleep 3600 >/dev/null 2>&1 & echo $!"], stdout=subprocess.PIPE, text=True)
daemons = [daemonise(), int(shell.stdout)]
"""


async def start_daemons(session):
    """Start them in a session; return their pids."""
    names = await session.run(f"{DAEMONS}\n[{name_of('pid')} for pid in daemons]")
    return [pid_named(name) for name in names.value]


def is_there(path):
    return Path(path).exists()


def names_in(path):
    return sorted(entry.name for entry in Path(path).iterdir())


async def crash(session, _worker):
    assert (await session.run("import os; os.abort()")).status is skep.CellStatus.CRASHED


async def close(session, _worker):
    await session.close()


async def kill_worker(_session, worker):
    await worker.kill()


async def stop_worker(_session, worker):
    await worker.stop()


@pytest.mark.parametrize("end", [crash, close, kill_worker, stop_worker], ids=lambda end: end.__name__)
async def test_daemons_of_a_session_end_with_it(shard, start_worker, process_end, end):
    worker = await start_worker()
    session = shard.session("s")
    daemons = await start_daemons(session)
    await session.run("1")
    for pid in daemons:
        os.kill(pid, 0)  # they outlive their cell

    await end(session, worker)
    for pid in daemons:
        await process_end(pid)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("end", [crash, close, kill_worker, stop_worker], ids=lambda end: end.__name__)
async def test_daemons_end_with_their_session_after_its_zygote_died(shard, start_worker, process_end, end, when):
    worker = await start_worker()
    session = shard.session("s")
    zygote = await zygote_of(session)
    daemons = await start_daemons(session) if when == "after" else []
    os.kill(zygote, signal.SIGKILL)
    assert (await shard.session("other").run("1")).ok  # by another zygote
    daemons += await start_daemons(session)
    await session.run("1")
    for pid in daemons:
        os.kill(pid, 0)  # they live on with their session

    await end(session, worker)
    for pid in daemons:
        await process_end(pid)


async def test_a_zygote_that_dies_is_replaced_before_a_session_needs_it(shard, run_logged):
    settings = shard.settings
    worker = await run_logged("-m", "skep_workers", "--redis", settings.redis_url, "--prefix", settings.prefix)
    await worker.says("worker.ready")
    session = shard.session("s")
    await session.run("x = 42")
    zygote = await zygote_of(session)
    worker.lines.clear()

    os.kill(zygote, 9)
    started = await worker.says("zygote.started")
    assert started["pid"] != zygote
    assert (await session.run("x")).value == 42
    assert await zygote_of(shard.session("other")) == started["pid"]


async def test_a_killed_worker_leaves_no_files(shard, start_worker, process_end, tmp_path):
    worker = await start_worker()
    (tmp_path / "kept").write_text("not the worker's")
    session = shard.session("s")
    code = f"import os; os.symlink({str(tmp_path)!r}, 'link'); os.path.dirname(os.getcwd())"
    place, zygote = (await session.run(code)).value, await zygote_of(session)
    await shard.session("other").run("open('file', 'w').write('x')")
    [scratch] = Path(f"/proc/{zygote}/cmdline").read_text().split("\0")[5:6]  # noqa: ASYNC240
    assert "skep-worker-" in scratch
    assert [name for name in names_in(place) if not name.startswith(".")] == ["other", "s"]

    await worker.kill()
    await process_end(zygote)
    assert not is_there(scratch)
    assert not is_there(place)
    assert (tmp_path / "kept").exists()


# Started and detached, with all descriptors of the session's process open.
DAEMON = """
import os, time
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(write, str(os.getpid()).encode())
        time.sleep(3600)
    os._exit(0)
os.wait()
daemon = int(os.read(read, 20))
"""
DEAF = """
import time
while True:
    try:
        time.sleep(3600)
    except BaseException:
        pass
"""


@pytest.fixture
async def orphaned(shard, run_logged):
    """Return a worker, and a session of it whose zygote has died."""
    settings = shard.settings
    worker = await run_logged(
        "-m", "skep_workers", "--redis", settings.redis_url, "--prefix", settings.prefix, "--grace-seconds", "0"
    )
    await worker.says("worker.ready")
    session = shard.session("s")
    os.kill(await zygote_of(session), 9)
    await worker.says("zygote.lost")
    await shard.session("other").run("1")  # in a sandbox the session's process has ended too, which is known by then
    return worker, session


@pytest.mark.parametrize(
    ("before", "left"),
    [("", OWN_NAME), (DAEMON, name_of("daemon"))],
    ids=["alone", "with a daemon that holds its sockets"],
)
async def test_a_worker_drains_after_its_zygote_died(orphaned, first_output, before, left):
    worker, session = orphaned
    left = pid_named(await first_output(await session.submit(f"{before}\nprint({left})\n{DEAF}")))
    worker.send_signal(signal.SIGTERM)

    assert await worker.exit_status() == 0
    assert not [line for line in worker.lines if "drain.abandoned" in line]
    with contextlib.suppress(ProcessLookupError):
        os.kill(left, signal.SIGKILL)  # without the zygote the daemon has no owner
