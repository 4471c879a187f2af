"""A session process that is to fork itself: which requests it refuses, and which processes the zygote adopts."""

import asyncio
import os
import signal
import socket

import pytest

from skep_shared.checkpoints.manifest import Group, Manifest
from skep_shared.errors import StartError
from skep_workers.host.process.live_fork import LiveProcess, NotLive

from ..conftest import START_SECONDS

pytestmark = pytest.mark.anyio


@pytest.fixture
def manifest():
    """A checkpoint at which no process of these tests is."""
    return Manifest(1, [], None, {}, {}, Group([], [])).pack()


async def fork(session, zygote, manifest, directory):
    ends = [socket.socketpair() for _ in range(3)]
    pipes = [os.pipe() for _ in range(2)]
    try:
        given = [pair[0].fileno() for pair in ends[:2]]
        given += [*pipes[0], *pipes[1], ends[2][0].fileno(), os.open(os.devnull, os.O_RDONLY)]
        live = LiveProcess(session.process, zygote, manifest, START_SECONDS)
        return await live.fork(given, str(directory), lambda _status: None)
    finally:
        for pair in ends:
            for end in pair:
                end.close()
        for pipe in pipes:
            for fd in pipe:
                os.close(fd)
        os.close(given[-1])


async def test_a_process_that_is_not_at_the_checkpoint_refuses_and_continues(session, zygote, manifest, tmp_path):
    await session.run("x = 1")
    for _ in range(3):
        with pytest.raises(NotLive, match="not at that checkpoint"):
            await fork(session, zygote, manifest, tmp_path)

    assert await session.value("x") == 1


async def test_a_manifest_that_cannot_be_read_is_refused(session, zygote, tmp_path):
    with pytest.raises(NotLive):
        await fork(session, zygote, b"\xc1", tmp_path)

    assert await session.value("1") == 1


async def test_cells_that_arrive_with_the_request_run_after_it(session, zygote, manifest, tmp_path):
    cell = session.submit("'ran'")
    with pytest.raises(NotLive):
        await fork(session, zygote, manifest, tmp_path)

    assert (await cell.ended()).value == "ran"
    assert await session.value("2") == 2


async def test_the_wait_for_missing_descriptors_ends(session, manifest):
    given = [os.open(os.devnull, os.O_RDONLY)]
    twinned = await session.process.twin(manifest, given, START_SECONDS)
    os.close(given[0])

    assert (twinned.pid, twinned.reason) == (0, "10 descriptors are needed, 1 have arrived")
    assert await session.value("1") == 1


async def test_a_late_answer_does_not_answer_a_later_request(session, manifest):
    given = [os.open(os.devnull, os.O_RDONLY)]
    os.kill(session.process.pid, signal.SIGSTOP)
    with pytest.raises(StartError, match="has not answered"):
        await session.process.twin(manifest, given, 0.01)
    later = asyncio.create_task(session.process.twin(manifest, given * 2, START_SECONDS))
    os.kill(session.process.pid, signal.SIGCONT)

    assert (await later).reason == "10 descriptors are needed, 2 have arrived"
    os.close(given[0])


async def test_a_process_that_ends_makes_no_twin(session, zygote, manifest, tmp_path):
    os.kill(session.process.pid, signal.SIGSTOP)
    asking = asyncio.create_task(fork(session, zygote, manifest, tmp_path))
    await asyncio.sleep(0)
    os.kill(session.process.pid, signal.SIGKILL)
    with pytest.raises(StartError, match="has ended"):
        await asking
    with pytest.raises(StartError, match="has ended"):
        await fork(session, zygote, manifest, tmp_path)


async def test_the_zygote_adopts_only_a_fork_of_that_session(start_session, zygote):
    source, other = await start_session(), await start_session()
    child = await other.value("import subprocess; child = subprocess.Popen(['sleep', '3600']); child.pid")

    for pid in (os.getpid(), os.getppid(), 1, 2**22, source.process.pid, other.process.pid, child):
        with pytest.raises(StartError, match="is no fork of process"):
            await zygote.adopt(pid, source.process.pid, lambda _status: None)
    with pytest.raises(StartError, match="is no fork of process"):
        await zygote.adopt(os.getpid(), os.getppid(), lambda _status: None)
    assert await other.value("child.poll() is None")
