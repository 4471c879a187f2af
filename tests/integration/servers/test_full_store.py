"""A checkpoint store that is full or read-only: calls that need it fail soon with the reason, and leave nothing partial.

The worker's writes to files fail as on such a file system; a real one needs permissions that tests don't have.
"""

import errno
import json
import os
import secrets
from pathlib import Path

import pytest
from tests.integration.conftest import LoggedProcess

import skep

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

MARK = "SECRETMARK-hunter2"
NOISE = f"import os\nbig = os.urandom(1_500_000) + b'{MARK}'"  # three chunks
MIB = 1024 * 1024
WORKER = """
import errno, json, os, pathlib, threading
from skep_shared.chunks import durable_files
switch, write = pathlib.Path({switch!r}), durable_files._replace
one_at_a_time = threading.Lock()  # so that as many files are written as there is room for
def limited(path, data):
    if not switch.exists():
        return write(path, data)
    with one_at_a_time:
        code, room = json.loads(switch.read_text())
        root = pathlib.Path({store!r})
        if sum(len(files) for _, _, files in os.walk(root)) >= room:
            raise OSError(code, os.strerror(code))
        write(path, data)
durable_files._replace = limited
from skep_workers.__main__ import main
raise SystemExit(main())
"""


class Store:
    """The store's directory, and a switch that makes the worker's writes there fail."""

    def __init__(self, path: Path) -> None:
        self.path = path / "store"
        self.switch = path / "switch"

    def fail(self, code: int, room: int = 0) -> None:
        """Make writes fail with this error once there are this many files."""
        self.switch.write_text(json.dumps([code, room]))

    def mend(self) -> None:
        """Make writes succeed again."""
        self.switch.unlink()

    def files(self) -> list[str]:
        """Return the names of all files."""
        return sorted(name for _, _, names in os.walk(self.path) for name in names)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
async def worker(shard, store, run_logged) -> LoggedProcess:
    """A worker with that store and short timeouts."""
    code = WORKER.format(switch=str(store.switch), store=str(store.path))
    flags = ("--redis", shard.settings.redis_url, "--prefix", shard.settings.prefix, "--log-format", "json")
    seconds = ("--store-outage-seconds", "0.2", "--lease-seconds", "1")
    worker = await run_logged("-c", code, *flags, *seconds, "--checkpoint-store", f"file://{store.path}")
    await worker.says("worker.ready")
    return worker


@pytest.fixture
async def session(shard, worker):
    """A session of that worker, with some state."""
    session = shard.session(f"s-{secrets.token_hex(6)}")
    await session.run(f"import os\nname = 'value {MARK}'")
    return session


FAULTS = pytest.mark.parametrize(
    ("code", "room"),
    [(errno.EROFS, 0), (errno.ENOSPC, 0), (errno.ENOSPC, 1), (errno.EDQUOT, 2)],
    ids=["read-only", "full", "full after one", "over the quota after two"],
)


@FAULTS
async def test_a_checkpoint_that_the_store_refuses_costs_only_that_checkpoint(
    session, store, worker, code, room, eventually
):
    store.fail(code, room)
    outcome = await session.run(NOISE)
    assert (outcome.status, outcome.checkpoint) == (skep.CellStatus.FINISHED, None)
    assert any(os.strerror(code) in warning for warning in outcome.warnings)

    async def nothing_is_left():
        return store.files() == []

    await eventually(nothing_is_left)
    assert (await session.run("len(big) > 1_500_000, name[:5]")).value == (True, "value")
    store.mend()
    while (await session.run("x = 1")).checkpoint is None:
        pass  # its process was not notified yet that it has to send the refused chunks again
    await session.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert (await session.run("len(big) > 1_500_000, x")).value == (True, 1)
    assert MARK not in "\n".join(worker.lines)


@FAULTS
async def test_a_file_that_the_store_refuses_is_refused_and_leaves_nothing(
    session, store, worker, code, room, eventually
):
    await session.files.put("before", b"kept")
    store.fail(code, room)
    data = MARK.encode() + os.urandom(3 * MIB)
    with pytest.raises(skep.OperationFailed, match="store") as caught:
        await session.files.put("dir/f", data)
    assert os.strerror(code) in str(caught.value)
    assert [file.path for file in await session.files.list()] == ["before"]

    async def nothing_is_left():
        return store.files() == []

    await eventually(nothing_is_left)
    assert (await session.run("sorted(os.listdir())")).value == ["before"]
    store.mend()
    await session.files.put("dir/f", data)
    assert await session.files.get("dir/f") == data
    assert MARK not in "\n".join(worker.lines)


async def test_stored_checkpoints_can_be_read_forked_and_rolled_back_to(session, store):
    first = await session.run(NOISE)
    size = (await session.run("len(big)")).value
    await session.run("big = None")
    store.fail(errno.EROFS)
    fork = await session.fork(f"{session.id}-fork", at=first.checkpoint)
    assert (await fork.run("len(big)")).value == size
    await session.rollback(first.checkpoint)
    assert (await session.run("len(big)")).value == size


async def test_a_session_with_unsaved_state_does_not_hibernate(session, store):
    store.fail(errno.ENOSPC)
    assert (await session.run(NOISE)).checkpoint is None
    with pytest.raises(skep.OperationFailed):
        await session.hibernate()
    assert (await session.run("len(big) > 0")).value is True
    store.mend()
    while (await session.run("x = 1")).checkpoint is None:
        pass  # see above
    await session.hibernate()

    assert (await session.run("len(big) > 0, x")).value == (True, 1)


async def test_a_session_with_unsaved_state_can_be_closed_and_purged(session, store, eventually):
    await session.run(NOISE)
    assert len(store.files()) > 0
    store.fail(errno.ENOSPC)
    assert (await session.run("big = os.urandom(2_000_000)")).checkpoint is None
    await session.close(purge=True)
    with pytest.raises(skep.NotFound):
        await session.info()

    async def nothing_is_left():
        return store.files() == []

    await eventually(nothing_is_left)
