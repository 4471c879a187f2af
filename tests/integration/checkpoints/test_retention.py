"""Which checkpoints are retained, by number, name and size; forks that share chunks; nothing is left after a purge."""

import pytest

import skep
from skep_shared.broker.keys import Keys

pytestmark = pytest.mark.anyio

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
NOISE = "import os\nbig = os.urandom(1_000_000)"


async def ids(session):
    return [checkpoint.id async for checkpoint in session.checkpoints()]


@pytest.fixture
def settled(eventually):
    """Wait until the session has these checkpoints: pruning comes after the commit and sends no signal."""

    async def wait(session, *expected):
        async def holds():
            return await ids(session) == list(expected)

        await eventually(holds)

    return wait


async def keys_of(shard, *session_ids):
    found = set()
    for session_id in session_ids:
        base = Keys(shard.settings.prefix).session(session_id)
        found |= {key async for key in shard._link.redis.scan_iter(f"{base}*")}
    return found


async def test_the_latest_every_kth_and_named_checkpoints_are_retained(shard, start_worker, settled):
    await start_worker("--keep-checkpoints", "2", "--keep-every-checkpoints", "5")
    session = shard.session("s")
    for number in range(1, 4):
        await session.run(f"x = {number}")
    await session.name_checkpoint("3-0", "good one")
    for number in range(4, 14):
        await session.run(f"x = {number}")

    await settled(session, "3-0", "5-0", "10-0", "12-0", "13-0")
    await session.rollback("good one")
    assert (await session.run("x")).value == 3
    await session.rollback("5-0")
    assert (await session.run("x")).value == 5


async def test_a_checkpoint_that_lost_its_name_is_pruned_by_a_later_commit(shard, start_worker, settled):
    await start_worker("--keep-checkpoints", "1")
    session = shard.session("s")
    await session.run("x = 1")
    await session.name_checkpoint("1-0", "first")
    await session.run("x = 2")
    await session.run("x = 3")
    await settled(session, "1-0", "3-0")
    [named, _] = [checkpoint async for checkpoint in session.checkpoints()]
    assert named.name == "first"

    await session.name_checkpoint("1-0", None)
    await session.run("x = 4")
    await session.run("x = 5")
    await settled(session, "5-0")


async def test_a_name_is_refused_before_anything_is_written(cluster, session):
    await session.run("x = 1")
    await session.run("x = 2")
    await session.name_checkpoint("1-0", "one")

    for name in ("", "x" * 201, "7-0", "a\nb"):
        with pytest.raises(skep.InvalidArgument):
            await session.name_checkpoint("2-0", name)
    with pytest.raises(skep.InvalidArgument, match="1-0"):
        await session.name_checkpoint("2-0", "one")
    with pytest.raises(skep.NotFound):
        await session.name_checkpoint("9-0", "nine")
    with pytest.raises(skep.NotFound):
        await session.rollback("another")
    with pytest.raises(skep.NotFound):
        await session.fork(f"{session.id}-fork", at="another")
    assert [checkpoint.name async for checkpoint in session.checkpoints()] == ["one", None]


async def test_a_checkpoint_reports_the_size_of_its_state(cluster, session):
    await session.run("x = 1")
    await session.run("big = ''.join(map(str, range(500_000)))")
    small, large = [checkpoint.bytes async for checkpoint in session.checkpoints()]

    assert 0 < small < 10_000
    assert 2_888_890 < large < 2_900_000
    blobs = await cluster._link.redis.hvals(cluster._link.keys.blobs(session.id))
    assert sum(map(len, blobs)) < 2_000_000  # it is compressed


async def test_a_session_above_its_budget_retains_fewer_checkpoints(shard, start_worker, settled):
    await start_worker("--checkpoint-budget-bytes", "2500000")
    session = shard.session("s")
    for _ in range(4):
        await session.run(NOISE)
    await settled(session, "3-0", "4-0")
    blobs = await shard._link.redis.hvals(shard._link.keys.blobs("s"))
    assert sum(map(len, blobs)) < 2_500_000

    await session.run("huge = os.urandom(3_000_000)")
    await settled(session, "5-0")
    await session.run(KILL)
    assert (await session.run("len(huge)")).value == 3_000_000


async def test_an_abandoned_branch_is_retained_until_it_is_pruned(shard, start_worker, settled):
    await start_worker("--keep-checkpoints", "3")
    session = shard.session("s")
    for number in range(1, 4):
        await session.run(f"x = {number}")
    await session.rollback("1-0")
    await session.run("y = x")
    await settled(session, "2-0", "3-0", "4-0")

    await session.rollback("3-0")
    assert (await session.run("x, 'y' in globals()")).value == (3, False)


async def test_a_value_that_returns_while_its_chunks_are_removed_is_stored(shard, start_worker):
    await start_worker("--keep-checkpoints", "1")
    session = shard.session("s")
    await session.run("import random\na, b = random.Random(1).randbytes(600_000), random.Random(2).randbytes(600_000)")
    await session.run("a_sum, b_sum = hash(a), hash(b); del b")
    for number in range(12):  # each cell removes one of them and restores the other
        await session.run(f"del a\nb = random.Random(2).randbytes(600_000); n = {number}")
        await session.run(f"del b\na = random.Random(1).randbytes(600_000); n = {number}")
        if number % 4 == 3:
            await session.run(KILL)
            assert (await session.run("len(a), n")).value == (600_000, number)
    assert not [event async for event in session.events() if event.kind == "warning"]


async def test_forks_of_a_large_state_share_the_stored_chunks(cluster, session):
    await session.run(NOISE + "\ndigest = hash(big)")
    ids = [f"{session.id}-{number}" for number in range(10)]
    forks = await session.fork_many(ids)
    redis, keys = cluster._link.redis, cluster._link.keys

    for fork in forks[:3]:
        assert (await fork.run("x = 1; len(big), digest == __import__('builtins').hash(big)")).value[0] == 1_000_000
        own = await redis.hvals(keys.blobs(fork.id))
        assert sum(map(len, own)) < 10_000
    assert not await redis.exists(keys.blobs(forks[-1].id))


async def test_a_fork_of_a_fork_reads_the_chunks_of_both(cluster, session):
    await session.run("a = b'a' * 300_000; n = 1")
    first = await session.fork(f"{session.id}-1")
    await first.run("b = b'b' * 300_000; n = 2")
    second = await first.fork(f"{session.id}-2")
    await second.run("c = b'c' * 300_000; n = 3")
    await second.run(KILL)

    assert (await second.run("len(a), len(b), len(c), n")).value == (300_000, 300_000, 300_000, 3)
    third = await second.fork(f"{session.id}-3", at="2-0")
    assert (await third.run("len(a), len(b), 'c' in globals(), n")).value == (300_000, 300_000, False, 2)


async def test_either_all_forks_are_made_or_none(cluster, session):
    await session.run("x = 1")
    await session.fork(f"{session.id}-b")

    with pytest.raises(skep.InvalidArgument, match=f"{session.id}-b"):
        await session.fork_many([f"{session.id}-a", f"{session.id}-b"])
    with pytest.raises(skep.NotFound):
        await cluster.session(f"{session.id}-a").info()
    for wrong in ([], ["x", "x"], ["a:b"], ["x"] * 1001):
        with pytest.raises(skep.InvalidArgument):
            await session.fork_many(wrong)


async def test_a_fork_survives_the_purge_of_its_origin_and_its_own_purge_leaves_nothing(shard, start_worker, settled):
    await start_worker("--keep-checkpoints", "1")
    origin = shard.session("origin")
    await origin.run(NOISE)
    fork = await origin.fork("fork")
    await origin.run("big = 1")
    await origin.run("big = 2")
    await settled(origin, "1-0", "3-0")
    await origin.close(purge=True)

    assert (await fork.run("len(big)")).value == 1_000_000
    further = await fork.fork("further")
    await fork.close(purge=True)
    await further.run(KILL)
    assert (await further.run("len(big)")).value == 1_000_000
    with pytest.raises(skep.SessionClosed):
        await shard.session("origin").run("1")
    await further.close(purge=True)
    assert await keys_of(shard, "origin", "fork", "further") == set()
    assert (await shard.session("origin").run("'big' in globals()")).value is False


async def test_chunks_that_a_dead_worker_never_committed_are_removed(shard, start_worker, eventually):
    worker = await start_worker()
    session = shard.session("s")
    await session.run("x = 1")
    redis, key = shard._link.redis, shard._link.keys.blobs("s")
    await redis.hset(key, b"left by a snapshot", b"\0bytes")
    await worker.kill()
    await start_worker()
    await session.run("x = 2")

    async def is_gone():
        return not await redis.hexists(key, b"left by a snapshot")

    await eventually(is_gone)
    await session.rollback("1-0")
    assert (await session.run("x")).value == 1


async def test_chunks_that_a_crash_left_uncommitted_are_removed(shard, start_worker, eventually):
    await start_worker()
    session = shard.session("s")
    await session.run("x = 1")
    redis, key = shard._link.redis, shard._link.keys.blobs("s")
    cells = await session.submit_many([NOISE, KILL, "big = None"])
    for cell in cells:
        await cell.outcome()
    await session.run("x = 2")

    async def is_small():
        named = [checkpoint.bytes async for checkpoint in session.checkpoints()]
        stored = sum(map(len, await redis.hvals(key)))
        return stored < sum(named) + 10_000

    await eventually(is_small)
