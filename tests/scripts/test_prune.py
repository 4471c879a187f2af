"""Pruning removes what it is told to, or nothing: never what has a name, is pinned, or is the head."""

import pytest

from skep_shared.broker.script_replies import NameStatus, Pruned
from skep_shared.checkpoints.checkpoint_ids import NO_CHECKPOINT, CheckpointId
from skep_shared.errors import EventGap, Fenced

from .conftest import Shard

pytestmark = pytest.mark.anyio


async def test_it_removes_the_checkpoints_and_chunks_given(shard: Shard):
    claim = await shard.save("a", "b", "c")

    assert await shard.scripts.prune(claim, [CheckpointId(2)], [b"b"]) == Pruned(True, 1, frozenset())
    assert await shard.kept() == (["1-0", "3-0"], {b"shared", b"a", b"c"})


@pytest.mark.parametrize("protect", ["name", "pin", "head"])
async def test_nothing_is_removed_if_one_of_them_must_stay(shard: Shard, protect):
    claim = await shard.save("a", "b", "c")
    if protect == "name":
        assert await shard.scripts.name("s", CheckpointId(2), "good") == (NameStatus.OK, NO_CHECKPOINT)
    elif protect == "pin":
        await shard.redis.hset(shard.keys.pins("s"), "fork", 2)
    else:
        await shard.scripts.rehead(claim, 3, CheckpointId(2))
    before = await shard.dump()

    answer = await shard.scripts.prune(claim, [CheckpointId(1), CheckpointId(2)], [b"a", b"b"])

    assert (answer.is_done, answer.chunks, CheckpointId(2) in answer.protected) == (False, 0, True)
    assert await shard.dump() == before


async def test_it_says_what_is_protected_by_now(shard: Shard):
    claim = await shard.save("a", "b", "c", "d")
    await shard.scripts.name("s", CheckpointId(2), "good")
    for fork in ("f", "g"):
        await shard.redis.hset(shard.keys.pins("s"), fork, 3)

    assert await shard.scripts.prune(claim, [CheckpointId(1)], []) == Pruned(
        True, 0, frozenset({CheckpointId(2), CheckpointId(3)})
    )


async def test_a_stale_owner_prunes_nothing(shard: Shard):
    stale = await shard.save("a", "b")
    await shard.kill("w1")
    await shard.claim("w2")
    before = await shard.dump()

    with pytest.raises(Fenced):
        await shard.scripts.prune(stale, [CheckpointId(1)], [b"a"])
    assert await shard.dump() == before


async def test_a_resent_prune_changes_nothing(shard: Shard):
    claim = await shard.save("a", "b")
    await shard.scripts.prune(claim, [CheckpointId(1)], [b"a"])
    before = await shard.dump()

    assert await shard.scripts.prune(claim, [CheckpointId(1)], [b"a"]) == Pruned(True, 0, frozenset())
    assert await shard.dump() == before


async def test_a_commit_succeeds_after_its_newest_checkpoint_was_removed(shard: Shard):
    claim = await shard.save("a", "b")
    await shard.scripts.rehead(claim, 2, CheckpointId(1))
    assert (await shard.scripts.prune(claim, [CheckpointId(2)], [b"b"])).is_done
    await shard.scripts.release(claim, "w1")

    await shard.save("c")
    assert await shard.kept() == (["1-0", "3-0"], {b"shared", b"a", b"c"})


async def test_nothing_is_removed_where_redis_has_gone_back(shard: Shard):
    claim = await shard.save("a", "b")
    before = await shard.dump()

    with pytest.raises(EventGap):
        await shard.scripts.prune(claim, [CheckpointId(1)], [b"a"], newest=3)
    assert await shard.dump() == before
