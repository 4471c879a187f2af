"""What commit.lua and prune.lua do with manifests and chunks."""

import pytest

from skep_shared.errors import Fenced
from skep_shared.scripts import CellCommit

pytestmark = pytest.mark.anyio


async def saved(shard, *names):
    """Submit and commit cells, each with a checkpoint that names one chunk of its own and one they share."""
    await shard.submit(*names)
    claim = await shard.claim("w1")
    for number, name in enumerate(names, start=1):
        blobs = ((b"shared", b"x"), (name.encode(), b"y"))
        cell = CellCommit(name, number, (b"e",), manifest=b"m-" + name.encode(), blobs=blobs)
        await shard.commit(claim, cell, cursor=number - 1, first=number)
    return claim


async def test_a_commit_stores_manifest_and_chunks_and_moves_the_head(shard):
    await saved(shard, "a", "b")

    keys = shard.scripts.keys
    assert await shard.redis.xrange(keys.checkpoints("s")) == [(b"1-0", {b"m": b"m-a"}), (b"2-0", {b"m": b"m-b"})]
    assert await shard.redis.hgetall(keys.blobs("s")) == {b"shared": b"x", b"a": b"y", b"b": b"y"}
    assert await shard.redis.hget(keys.session("s"), "head") == b"2"


async def test_a_commit_without_a_manifest_leaves_the_head(shard):
    claim = await saved(shard, "a")
    await shard.submit("b")
    await shard.commit(claim, CellCommit("b", 2, (b"e",)), cursor=1, first=2)

    assert await shard.redis.hget(shard.scripts.keys.session("s"), "head") == b"1"


async def test_the_next_owner_is_told_the_head(shard):
    await saved(shard, "a", "b")
    await shard.kill("w1")

    assert (await shard.claim("w2")).head == 2


async def test_pruning_removes_old_checkpoints_and_only_the_chunks_given(shard):
    claim = await saved(shard, "a", "b", "c")

    assert await shard.scripts.prune(claim, 2, [b"a"]) == 1
    keys = shard.scripts.keys
    assert [entry_id for entry_id, _ in await shard.redis.xrange(keys.checkpoints("s"))] == [b"2-0", b"3-0"]
    assert set(await shard.redis.hgetall(keys.blobs("s"))) == {b"shared", b"b", b"c"}


async def test_pruning_never_removes_the_head(shard):
    claim = await saved(shard, "a", "b")

    assert await shard.scripts.prune(claim, 3, [b"shared", b"b"]) == 0
    assert await shard.redis.xlen(shard.scripts.keys.checkpoints("s")) == 2


async def test_a_stale_owner_prunes_nothing(shard):
    stale = await saved(shard, "a", "b")
    await shard.kill("w1")
    await shard.claim("w2")
    before = await shard.dump()

    with pytest.raises(Fenced):
        await shard.scripts.prune(stale, 2, [b"a"])
    assert await shard.dump() == before


async def test_a_resent_prune_changes_nothing(shard):
    claim = await saved(shard, "a", "b")
    await shard.scripts.prune(claim, 2, [b"a"])
    before = await shard.dump()

    assert await shard.scripts.prune(claim, 2, [b"a"]) == 0
    assert await shard.dump() == before


async def test_purging_removes_checkpoints_and_chunks(shard):
    claim = await saved(shard, "a")
    await shard.scripts.release(claim, "w1")
    await shard.scripts.close("s")

    assert await shard.scripts.purge("s")
    assert [key async for key in shard.redis.scan_iter(f"{shard.scripts.keys.session('s')}*")] == []
