"""A session's directory on a machine where another worker had the session before."""

import asyncio
import os
import subprocess
from unittest import mock

import pytest

from skep_shared.broker.script_replies import Claim
from skep_shared.errors import StartError
from skep_shared.process_trees import ProcessId, is_running, process_id
from skep_shared.session_directories import DirectoryOwner, SessionDirectories
from skep_workers.host.process import work_directory
from skep_workers.host.process.work_directory import WorkDirectory

pytestmark = pytest.mark.anyio

GONE = ProcessId(2**22 + 1, 1)


class Forked(Exception):
    """Raised where a process would be forked: the directory is ready."""


class Parent:
    """A parent that forks no process, but records the directory."""

    async def fork(self, descriptors, directory, on_exit, group):
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
def make_directory(directories):
    """A function that makes the WorkDirectory of session `s` for a claim."""

    def make(name="mine", epoch=2, losses=0):
        claim = Claim("s", name, epoch, 0, 1, 0, losses, "", False, b"", 0, created_at=1)
        return WorkDirectory(None, directories, process_id(os.getpid()), claim, 1.0)

    return make


def leave_behind(directories, *pids, name="theirs", epoch=1):
    """Make a directory with a file, owned by another claim with these processes."""
    with directories.lock("s") as file:
        processes = tuple(process_id(pid) for pid in pids)
        file.write(DirectoryOwner(name, (1, epoch), GONE, processes))
        (directories.make("s") / "theirs").write_text("")


def content(directories):
    return sorted(entry.name for entry in directories.path("s").iterdir())


async def start_in(make_directory):
    with pytest.raises(Forked):
        await make_directory.start_process(mock.Mock(), Parent())


async def test_a_directory_is_emptied(directories, make_directory):
    leave_behind(directories)
    await start_in(make_directory())

    assert content(directories) == []


async def test_a_process_of_an_owner_that_was_lost_is_killed(directories, make_directory, sleeper):
    leave_behind(directories, sleeper.pid)
    stale = process_id(sleeper.pid)
    await start_in(make_directory(losses=1))

    assert not is_running(stale)
    assert content(directories) == []


async def test_a_process_whose_worker_released_the_session_may_end_by_itself(
    directories, make_directory, sleeper, monkeypatch
):
    monkeypatch.setattr(work_directory, "kill_tree", None)
    leave_behind(directories, sleeper.pid)
    taking = asyncio.create_task(start_in(make_directory()))
    await asyncio.sleep(0)
    assert content(directories) == ["theirs"]
    sleeper.terminate()
    await taking

    assert content(directories) == []


async def test_a_process_whose_worker_released_the_session_is_killed_after_a_while(
    directories, make_directory, sleeper, monkeypatch
):
    monkeypatch.setattr(work_directory, "LEAVE_SECONDS", 0.01)
    leave_behind(directories, sleeper.pid)
    stale = process_id(sleeper.pid)
    await start_in(make_directory())

    assert not is_running(stale)


async def test_while_an_earlier_process_runs_the_directory_is_not_emptied_and_the_start_fails(
    directories, make_directory, sleeper, monkeypatch
):
    monkeypatch.setattr(work_directory, "END_SECONDS", 0.01)
    monkeypatch.setattr(work_directory, "kill_tree", lambda process: [os.pidfd_open(process.pid)])
    leave_behind(directories, sleeper.pid)
    for _ in range(2):  # it is not forgotten
        with pytest.raises(StartError, match=rf"process {sleeper.pid} of an earlier owner .* has not ended"):
            await make_directory(losses=1).start_process(mock.Mock(), Parent())

    assert content(directories) == ["theirs"]
    monkeypatch.undo()
    await start_in(make_directory(losses=1))
    assert content(directories) == []


async def test_a_newer_owner_keeps_the_directory_while_its_process_runs(
    directories, make_directory, sleeper, monkeypatch
):
    monkeypatch.setattr(work_directory, "LEAVE_SECONDS", 0.01)
    leave_behind(directories, sleeper.pid, epoch=3)
    with pytest.raises(StartError, match="newer owner"):
        await make_directory().start_process(mock.Mock(), Parent())

    assert sleeper.poll() is None
    assert content(directories) == ["theirs"]


async def test_the_directory_of_a_newer_owner_is_not_removed(directories, make_directory):
    old, new = make_directory("old", 1), make_directory("new", 2)
    await start_in(old)
    await start_in(new)
    await old.remove_after(None, at_once=True)
    assert content(directories) == []
    await new.remove_after(None, at_once=True)

    assert not directories.path("s").exists()


async def test_the_directory_is_made_again_after_its_parent_was_removed(directories, make_directory, tmp_path):
    mine = make_directory()
    await start_in(mine)
    await mine.remove_after(None, at_once=True)
    directories.leave(directories.join())
    assert not directories.place.exists()
    await start_in(mine)

    assert content(directories) == []
