"""A session's directory on a machine where another worker had the session before."""

import asyncio
import os
import subprocess

import pytest

from skep_shared.errors import StartError
from skep_shared.process_trees import ProcessId, is_running, process_id
from skep_shared.script_replies import Claim
from skep_shared.session_directories import DirectoryOwner, SessionDirectories
from skep_workers.host import housing
from skep_workers.host.housing import Housing

pytestmark = pytest.mark.anyio

GONE = ProcessId(2**22 + 1, 1)


class Forked(Exception):
    """What would have been forked: the directory is ready."""


class Parent:
    """What forks no process, but tells in which directory it would live."""

    async def fork(self, descriptors, directory, on_exit):
        raise Forked(directory)


@pytest.fixture
def directories(tmp_path):
    return SessionDirectories(tmp_path / "shard")


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "3600"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def house(directories):
    """A function that makes what keeps the directory of session `s` for a claim."""

    def make(name="mine", epoch=2, losses=0):
        claim = Claim("s", name, epoch, 0, 1, 0, losses, "", False, b"", 0, created_at=1)
        return Housing(None, directories, process_id(os.getpid()), claim, 1.0)

    return make


def leave_behind(directories, *pids, name="theirs", epoch=1):
    """Make a directory with a file, owned by another claim with these processes."""
    with directories.lock("s") as file:
        processes = tuple(process_id(pid) for pid in pids)
        file.write(DirectoryOwner(name, (1, epoch), GONE, processes))
        (directories.make("s") / "theirs").write_text("")


def content(directories):
    return sorted(entry.name for entry in directories.path("s").iterdir())


async def take(house):
    with pytest.raises(Forked):
        await house.start_process(lambda _: None, lambda *_: None, Parent())


async def test_a_directory_is_made_empty(directories, house):
    leave_behind(directories)
    await take(house())

    assert content(directories) == []


async def test_a_process_of_an_owner_that_was_lost_is_killed(directories, house, sleeper):
    leave_behind(directories, sleeper.pid)
    stale = process_id(sleeper.pid)
    await take(house(losses=1))

    assert not is_running(stale)
    assert content(directories) == []


async def test_a_process_whose_worker_released_the_session_may_end_by_itself(directories, house, sleeper, monkeypatch):
    monkeypatch.setattr(housing, "kill_tree", None)
    leave_behind(directories, sleeper.pid)
    taking = asyncio.create_task(take(house()))
    await asyncio.sleep(0)
    assert content(directories) == ["theirs"]
    sleeper.terminate()
    await taking

    assert content(directories) == []


async def test_a_process_whose_worker_released_the_session_is_killed_after_a_while(
    directories, house, sleeper, monkeypatch
):
    monkeypatch.setattr(housing, "LEAVE_SECONDS", 0.01)
    leave_behind(directories, sleeper.pid)
    stale = process_id(sleeper.pid)
    await take(house())

    assert not is_running(stale)


async def test_while_a_process_does_not_end_nothing_is_cleared_and_the_start_fails(
    directories, house, sleeper, monkeypatch
):
    monkeypatch.setattr(housing, "END_SECONDS", 0.01)
    monkeypatch.setattr(housing, "kill_tree", lambda process: [os.pidfd_open(process.pid)])
    leave_behind(directories, sleeper.pid)
    for _ in range(2):  # it is not forgotten
        with pytest.raises(StartError, match=rf"process {sleeper.pid} of an earlier owner .* has not ended"):
            await house(losses=1).start_process(lambda _: None, lambda *_: None, Parent())

    assert content(directories) == ["theirs"]
    monkeypatch.undo()
    await take(house(losses=1))
    assert content(directories) == []


async def test_a_newer_owner_keeps_the_directory_while_its_process_runs(directories, house, sleeper, monkeypatch):
    monkeypatch.setattr(housing, "LEAVE_SECONDS", 0.01)
    leave_behind(directories, sleeper.pid, epoch=3)
    with pytest.raises(StartError, match="newer owner"):
        await house().start_process(lambda _: None, lambda *_: None, Parent())

    assert sleeper.poll() is None
    assert content(directories) == ["theirs"]


async def test_what_a_newer_owner_has_made_is_not_removed(directories, house):
    old, new = house("old", 1), house("new", 2)
    await take(old)
    await take(new)
    await old.vacate(None, at_once=True)
    assert content(directories) == []
    await new.vacate(None, at_once=True)

    assert not directories.path("s").exists()


async def test_the_directory_can_be_used_again_when_its_place_was_removed(directories, house, tmp_path):
    mine = house()
    await take(mine)
    await mine.vacate(None, at_once=True)
    directories.leave(directories.join())
    assert not directories.place.exists()
    await take(mine)

    assert content(directories) == []
