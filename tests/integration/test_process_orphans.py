"""What a session starts and lets go of is gone when its process is, and its files when its worker is."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

import skep

pytestmark = pytest.mark.anyio

# A daemon as the books have it: forked twice, with a session of its own; and one that was started as a program.
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
[daemonise(), int(shell.stdout)]
"""


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
async def test_daemons_of_a_session_go_with_it(shard, start_worker, process_end, end):
    worker = await start_worker()
    session = shard.session("s")
    daemons = (await session.run(DAEMONS)).value
    await session.run("1")
    for pid in daemons:
        os.kill(pid, 0)  # they outlive their cell

    await end(session, worker)
    for pid in daemons:
        await process_end(pid)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("end", [crash, close, kill_worker, stop_worker], ids=lambda end: end.__name__)
async def test_daemons_go_with_their_session_though_its_zygote_has_died(shard, start_worker, process_end, end, when):
    worker = await start_worker()
    session = shard.session("s")
    zygote = (await session.run("import os; os.getppid()")).value
    daemons = (await session.run(DAEMONS)).value if when == "after" else []
    os.kill(zygote, signal.SIGKILL)
    assert (await shard.session("other").run("1")).ok  # by another zygote
    daemons += (await session.run(DAEMONS)).value
    await session.run("1")
    for pid in daemons:
        os.kill(pid, 0)  # they live on as their session does

    await end(session, worker)
    for pid in daemons:
        await process_end(pid)


async def test_a_zygote_that_dies_is_replaced_before_anybody_needs_it(shard, run_logged):
    settings = shard.settings
    worker = await run_logged("-m", "skep_workers", "--redis", settings.redis_url, "--prefix", settings.prefix)
    await worker.says("worker.ready")
    session = shard.session("s")
    zygote = (await session.run("import os; x = 42; os.getppid()")).value
    worker.lines.clear()

    os.kill(zygote, 9)
    started = await worker.says("zygote.started")
    assert started["pid"] != zygote
    assert (await session.run("x")).value == 42
    assert (await shard.session("other").run("__import__('os').getppid()")).value == started["pid"]


async def test_a_killed_worker_leaves_no_files(shard, start_worker, process_end, tmp_path):
    worker = await start_worker()
    (tmp_path / "kept").write_text("not the worker's")
    code = f"import os; os.symlink({str(tmp_path)!r}, 'link'); [os.getppid(), os.path.dirname(os.getcwd())]"
    zygote, place = (await shard.session("s").run(code)).value
    await shard.session("other").run("open('file', 'w').write('x')")
    [scratch] = Path(f"/proc/{zygote}/cmdline").read_text().split("\0")[6:7]  # noqa: ASYNC240
    assert "skep-worker-" in scratch
    assert names_in(place) == [".lock", ".owners", "other", "s"]

    await worker.kill()
    await process_end(zygote)
    assert not is_there(scratch)
    assert not is_there(place)
    assert (tmp_path / "kept").exists()


# Started and let go of, with everything open that the session's process has.
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
print(int(os.read(read, 20)))
"""
DEAF = """
print(os.getpid())
while True:
    try:
        time.sleep(3600)
    except BaseException:
        pass
"""


@pytest.fixture
async def orphaned(shard, run_logged):
    """Give a worker, and a session of it whose zygote has died."""
    settings = shard.settings
    worker = await run_logged(
        "-m", "skep_workers", "--redis", settings.redis_url, "--prefix", settings.prefix, "--grace-seconds", "0"
    )
    await worker.says("worker.ready")
    session = shard.session("s")
    zygote = (await session.run("import os, time; os.getppid()")).value
    os.kill(zygote, 9)
    await worker.says("zygote.lost")
    return worker, session


@pytest.mark.parametrize("before", ["", DAEMON], ids=["alone", "with a daemon that holds its sockets"])
async def test_a_worker_drains_though_a_zygote_of_it_has_died(orphaned, first_output, before):
    worker, session = orphaned
    left = int((await first_output(await session.submit(before + DEAF))).split()[0])
    worker.send_signal(signal.SIGTERM)

    assert await worker.exit_status() == 0
    assert not [line for line in worker.lines if "drain.abandoned" in line]
    with contextlib.suppress(ProcessLookupError):
        os.kill(left, signal.SIGKILL)  # a daemon is nobody's without the zygote
