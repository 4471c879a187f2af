"""What commit.lua does with manifests and chunks."""

import pytest

from skep_shared.broker.script_replies import CellCommit
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.errors import EventGap

pytestmark = pytest.mark.anyio


async def test_a_commit_stores_manifest_and_chunks_and_moves_the_head(shard):
    await shard.save("a", "b")

    keys = shard.scripts.keys
    assert await shard.redis.xrange(keys.checkpoints("s")) == [(b"1-0", {b"m": b"m-a"}), (b"2-0", {b"m": b"m-b"})]
    assert await shard.redis.hgetall(keys.blobs("s")) == {b"shared": b"x", b"a": b"y", b"b": b"y"}
    assert await shard.redis.hget(keys.session("s"), "head") == b"2"


async def test_a_commit_without_a_manifest_leaves_the_head(shard):
    claim = await shard.save("a")
    await shard.submit("b")
    await shard.commit(claim, CellCommit("b", 2, (b"e",)), cursor=1, first=2)

    assert await shard.redis.hget(shard.scripts.keys.session("s"), "head") == b"1"


async def test_a_commit_names_no_chunk_that_redis_has_lost(shard):
    claim = await shard.save("a")
    await shard.submit("b")
    commit = CellCommit("b", 2, (b"e",), b"m-b", ((b"stored before", b""), (b"b", b"y")))
    before = await shard.dump()
    with pytest.raises(EventGap):
        await shard.commit(claim, commit, cursor=1, first=2)
    assert await shard.dump() == before

    await shard.redis.hset(shard.keys.blobs("s"), "stored before", "z")
    await shard.commit(claim, commit, cursor=1, first=2)
    assert await shard.redis.hget(shard.keys.blobs("s"), "stored before") == b"z"


async def test_the_next_owner_gets_the_head(shard):
    await shard.save("a", "b")
    await shard.kill("w1")

    assert (await shard.claim("w2")).head == CheckpointId(2)


async def test_purging_removes_checkpoints_and_chunks(shard):
    claim = await shard.save("a")
    await shard.scripts.release(claim, "w1")
    await shard.scripts.close("s")

    assert await shard.scripts.purge("s")
    assert [key async for key in shard.redis.scan_iter(f"{shard.scripts.keys.session('s')}*")] == []
