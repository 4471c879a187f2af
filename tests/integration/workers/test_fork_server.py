"""A worker that the tests fork is like one that was executed."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from skep.local import worker_process
from skep.local.worker_process import WorkerProcess

pytestmark = pytest.mark.anyio


WAYS = ["executed"] if "SKEP_TEST_REAL_START" in os.environ else ["forked", "executed"]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """How the test's workers start."""
    if request.param == "executed":
        monkeypatch.setattr(worker_process, "subprocess", subprocess)
    return request.param


@pytest.fixture
async def worker(way, settings):
    """A worker of a shard that only this test uses."""
    worker = await WorkerProcess(settings.redis_url, flags=("--prefix", settings.prefix)).start()
    yield worker
    await worker.kill()


def open_files(pid):
    """Return what its descriptors refer to, sockets aside, whose number depends on what it does."""
    links = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return sorted({re.sub(r"\d+", "N", link) for link in links if not link.startswith("socket:")})


def parent_of(pid):
    """Return the pid of its parent."""
    return int(re.search(r"^PPid:\t(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1])


async def test_it_leads_a_session_and_has_no_descriptor_of_the_tests(way, worker):
    assert (parent_of(worker.pid) == os.getpid()) is (way == "executed")
    assert os.getsid(worker.pid) == worker.pid
    assert "/dev/null" in open_files(worker.pid)
    assert [link for link in open_files(worker.pid) if link.endswith((".py", ".toml"))] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_its_end_is_noticed_with_its_cause(worker, number):
    os.kill(worker.pid, number)

    how = await worker.death()
    assert how.startswith("exit status 0" if number == signal.SIGTERM else "killed by SIGKILL")


async def test_it_stops_with_status_0(worker):
    assert await worker.stop() == 0


async def test_it_has_the_environment_and_the_directory_of_the_tests(way, settings, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKEP_LEASE_SECONDS", "none")  # refused, in the worker
    log = tmp_path / "log"
    with pytest.raises(worker_process.StartError, match="given by SKEP_LEASE_SECONDS"):
        await WorkerProcess(settings.redis_url, log_path=log).start()
    monkeypatch.delenv("SKEP_LEASE_SECONDS")
    worker = await WorkerProcess(settings.redis_url, flags=("--prefix", settings.prefix)).start()

    assert Path(f"/proc/{worker.pid}/cwd").readlink() == tmp_path  # noqa: ASYNC240 - /proc does not block
    await worker.kill()
