"""Chunks in a store outside of Redis, here in files: stored, read, removed, and while the store is unavailable."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

import skep
from skep_shared.chunks.blobs import ObjectBlobs
from skep_workers.host.maintenance.store import remove_purged

pytestmark = pytest.mark.anyio

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
NOISE = "import os\nbig = os.urandom(1_000_000)"


@pytest.fixture
def files(tmp_path):
    """Return a function that lists the content of the store."""

    def names():
        store = tmp_path / "store"  # os.walk ignores files that a worker removes meanwhile
        return sorted(
            str(Path(folder, name).relative_to(store)) for folder, _, found in os.walk(store) for name in found
        )

    return names


@pytest.fixture
def store_flags(tmp_path):
    return ("--checkpoint-store", f"file://{tmp_path}/store")


@pytest.fixture
def break_store(tmp_path):
    """Return functions that make the store unavailable and available again."""
    store, aside = tmp_path / "store", tmp_path / "aside"

    def away():
        store.rename(aside)
        store.write_text("no directory")

    def back():
        store.unlink()
        aside.rename(store)

    return away, back


async def warnings(session, category):
    events = [event async for event in session.events() if event.kind == "warning"]
    return [event.message for event in events if event.category == category]


async def test_large_chunks_are_files_and_small_ones_stay_in_redis(shard, start_worker, store_flags, files):
    await start_worker(*store_flags)
    session = shard.session("s")
    await session.run("x = 1")
    assert files() == []

    await session.run(NOISE + "\ntotal = sum(big)")
    born = (await session.info()).created_at
    assert {name.rpartition("/")[0] for name in files()} == {f"s/{round(born.timestamp() * 1000)}/1"}
    stored = await shard._link.redis.hvals(shard._link.keys.blobs("s"))
    assert sum(map(len, stored)) < 10_000
    await session.run(KILL)
    assert (await session.run("x, sum(big) == total")).value == (1, True)


async def test_another_worker_restores_from_the_store(shard, start_worker, store_flags):
    first = await start_worker(*store_flags)
    session = shard.session("s")
    await session.run(NOISE)
    await start_worker(*store_flags)
    await first.kill()

    assert (await session.run("len(big)")).value == 1_000_000


async def test_chunks_stored_in_redis_before_the_store_existed_are_still_read(shard, start_worker, store_flags, files):
    first = await start_worker()
    session = shard.session("s")
    await session.run(NOISE)
    await first.kill()
    await start_worker(*store_flags)
    await session.run("more = os.urandom(600_000)")
    await session.run(KILL)

    assert (await session.run("len(big), len(more)")).value == (1_000_000, 600_000)
    assert len(files()) == 2  # in chunks of half a MiB


async def test_pruned_chunks_are_removed_from_the_store(shard, start_worker, store_flags, files, eventually):
    await start_worker(*store_flags, "--keep-checkpoints", "1")
    session = shard.session("s")
    for _ in range(3):
        await session.run(NOISE)

    async def one_is_left():
        return len(files()) == 2  # in chunks of half a MiB

    await eventually(one_is_left)
    await session.run(KILL)
    assert (await session.run("len(big)")).value == 1_000_000


async def test_forks_read_their_origins_folder_and_the_last_purge_empties_it(
    shard, start_worker, store_flags, files, tmp_path, eventually
):
    await start_worker(*store_flags)
    origin = shard.session("origin")
    await origin.run(NOISE)
    before = files()
    forks = await origin.fork_many(["f1", "f2"])
    for fork in forks:
        assert (await fork.run("len(big)")).value == 1_000_000
    assert files() == before

    redis, keys, store = shard._link.redis, shard._link.keys, ObjectBlobs(f"file://{tmp_path}/store", 10)
    await origin.close(purge=True)
    await forks[0].close(purge=True)
    await remove_purged(redis, keys, store)
    assert files() == before
    await forks[1].run(KILL)
    assert (await forks[1].run("len(big)")).value == 1_000_000

    await forks[1].close(purge=True)

    async def nothing_is_left():  # after the worker's own cleanup
        return files() == [] and not await redis.exists(keys.purged)

    await eventually(nothing_is_left)


@pytest.mark.parametrize("how", ["missing", "another form", "other bytes"])
async def test_a_damaged_chunk_costs_that_checkpoint_only(shard, start_worker, store_flags, files, tmp_path, how):
    await start_worker(*store_flags)
    session = shard.session("s")
    await session.run("x = 1")
    await session.run(NOISE)
    path = tmp_path / "store" / files()[0]
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes((b"\7" if how == "another form" else b"\0") + bytes(path.stat().st_size - 1))
    await session.run(KILL)

    assert (await session.run("x, 'big' in globals()")).value == (1, False)
    assert len(await warnings(session, "checkpoint.damaged")) == 1


async def test_a_store_that_recovers_in_time_is_waited_for(shard, start_worker, store_flags, break_store, gate):
    await start_worker(*store_flags)
    session = shard.session("s")
    await session.run("x = 1")
    away, back = break_store
    away()
    cell = await session.submit(NOISE)
    with pytest.raises(skep.WaitTimeout):
        await cell.outcome(timeout=1)
    back()

    assert (await cell.outcome()).attempt == 1
    assert not [event async for event in session.events() if event.kind == "checkpoint.failed"]


async def test_a_checkpoint_that_can_not_be_stored_fails_and_the_session_continues(
    shard, start_worker, store_flags, break_store
):
    await start_worker(*store_flags, "--store-outage-seconds", "0.2")
    session = shard.session("s")
    await session.run("x = 1")
    away, back = break_store
    away()
    outcome = await session.run(NOISE)

    assert (outcome.status, outcome.checkpoint, outcome.attempt) == (skep.CellStatus.FINISHED, None, 1)
    assert any("store" in warning for warning in outcome.warnings)
    async with contextlib.aclosing(session.events(follow=True)) as events:
        failed = await anext(event async for event in events if event.kind == "checkpoint.failed")
    assert (failed.after, "store" in failed.reason) == (2, True)
    assert (await session.run("x, len(big)")).value == (1, 1_000_000)  # the live state is unchanged
    back()
    assert (await session.run("x = 2")).checkpoint == "4-0"
    await session.run(KILL)
    assert (await session.run("x, len(big)")).value == (2, 1_000_000)


async def test_a_state_that_can_not_be_read_does_not_count_as_damaged(shard, start_worker, store_flags, break_store):
    await start_worker(*store_flags, "--store-outage-seconds", "0.1")
    session = shard.session("s")
    await session.run("x = 1")
    await session.run(NOISE)
    away, back = break_store
    away()
    await session.run(KILL)
    outcome = await session.run("x")
    assert (outcome.status, outcome.error.ename) == (skep.CellStatus.CRASHED, "StartError")
    assert "store" in outcome.error.evalue

    back()
    assert (await session.run("x, len(big)")).value == (1, 1_000_000)


async def test_a_worker_does_not_start_with_a_store_that_does_not_work(shard, run_logged):
    common = ("-m", "skep_workers", "--redis", shard.settings.redis_url, "--log-format", "json")
    worker = await run_logged(*common, "--checkpoint-store", "ftp://host/dir")
    assert await asyncio.wait_for(worker.exit_status(), 20) == 2
    worker = await run_logged(*common, "--checkpoint-store", "file:///proc/skep")
    assert await asyncio.wait_for(worker.exit_status(), 20) != 0
    assert "/proc/skep" in "\n".join(worker.lines)
