"""A session process that is asked for a fork of itself: what it refuses, and whom the zygote adopts."""

import asyncio
import os
import signal
import socket

import pytest

from skep_shared.errors import StartError
from skep_workers.host.live_fork import LiveProcess, NotLive
from skep_workers.session.checkpoint.manifest import Group, Manifest

from .conftest import START_SECONDS

pytestmark = pytest.mark.anyio


@pytest.fixture
def manifest():
    """A checkpoint that no process of these tests is at."""
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


async def test_a_process_that_is_not_at_the_checkpoint_refuses_and_lives_on(session, zygote, manifest, tmp_path):
    await session.run("x = 1")
    for _ in range(3):
        with pytest.raises(NotLive, match="not at that checkpoint"):
            await fork(session, zygote, manifest, tmp_path)

    assert await session.value("x") == 1


async def test_a_manifest_that_cannot_be_read_is_refused(session, zygote, tmp_path):
    with pytest.raises(NotLive):
        await fork(session, zygote, b"\xc1", tmp_path)

    assert await session.value("1") == 1


async def test_cells_that_come_with_the_question_run_after_it(session, zygote, manifest, tmp_path):
    cell = session.submit("'ran'")
    with pytest.raises(NotLive):
        await fork(session, zygote, manifest, tmp_path)

    assert (await cell.ended()).value == "ran"
    assert await session.value("2") == 2


async def test_descriptors_that_do_not_come_are_not_waited_for_for_ever(session, manifest):
    given = [os.open(os.devnull, os.O_RDONLY)]
    twinned = await session.process.twin(manifest, given, START_SECONDS)
    os.close(given[0])

    assert (twinned.pid, twinned.reason) == (0, "10 descriptors are needed, 1 have come")
    assert await session.value("1") == 1


async def test_an_answer_that_comes_late_is_to_no_later_question(session, manifest):
    given = [os.open(os.devnull, os.O_RDONLY)]
    os.kill(session.process.pid, signal.SIGSTOP)
    with pytest.raises(StartError, match="has not answered"):
        await session.process.twin(manifest, given, 0.01)
    later = asyncio.create_task(session.process.twin(manifest, given * 2, START_SECONDS))
    os.kill(session.process.pid, signal.SIGCONT)

    assert (await later).reason == "10 descriptors are needed, 2 have come"
    os.close(given[0])


async def test_a_process_that_ends_gives_no_twin(session, zygote, manifest, tmp_path):
    os.kill(session.process.pid, signal.SIGSTOP)
    asking = asyncio.create_task(fork(session, zygote, manifest, tmp_path))
    await asyncio.sleep(0)
    os.kill(session.process.pid, signal.SIGKILL)
    with pytest.raises(StartError, match="has ended"):
        await asking
    with pytest.raises(StartError, match="has ended"):
        await fork(session, zygote, manifest, tmp_path)


async def test_the_zygote_adopts_nobody_but_a_fork_of_that_session(start_session, zygote):
    source, other = await start_session(), await start_session()
    child = await other.value("import subprocess; child = subprocess.Popen(['sleep', '3600']); child.pid")

    for pid in (os.getpid(), os.getppid(), 1, 2**22, source.process.pid, other.process.pid, child):
        with pytest.raises(StartError, match="is no fork of process"):
            await zygote.adopt(pid, source.process.pid, lambda _status: None)
    with pytest.raises(StartError, match="is no fork of process"):
        await zygote.adopt(os.getpid(), os.getppid(), lambda _status: None)
    assert await other.value("child.poll() is None")
