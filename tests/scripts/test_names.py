"""Names of checkpoints: one each, each once, and only of what is there."""

import pytest

from skep_shared.broker.script_replies import NameStatus
from skep_shared.checkpoints.checkpoint_ids import NO_CHECKPOINT, CheckpointId
from skep_shared.limits import MAX_NAMES

from .conftest import Shard

pytestmark = pytest.mark.anyio


async def test_a_checkpoint_gets_a_name_and_loses_it(shard: Shard):
    await shard.save("a", "b")
    key = shard.keys.names("s")

    assert await shard.scripts.name("s", CheckpointId(2), "good") == (NameStatus.OK, NO_CHECKPOINT)
    assert await shard.redis.hgetall(key) == {b"good": b"2"}
    assert await shard.scripts.name("s", CheckpointId(2), "better") == (NameStatus.OK, NO_CHECKPOINT)
    assert await shard.redis.hgetall(key) == {b"better": b"2"}
    assert await shard.scripts.name("s", CheckpointId(2), "") == (NameStatus.OK, NO_CHECKPOINT)
    assert await shard.redis.exists(key) == 0


async def test_the_same_name_again_changes_nothing(shard: Shard):
    await shard.save("a")
    await shard.scripts.name("s", CheckpointId(1), "good")
    before = await shard.dump()

    assert await shard.scripts.name("s", CheckpointId(1), "good") == (NameStatus.OK, NO_CHECKPOINT)
    assert await shard.dump() == before


async def test_a_name_of_another_checkpoint_is_refused(shard: Shard):
    await shard.save("a", "b")
    await shard.scripts.name("s", CheckpointId(1), "good")
    await shard.scripts.name("s", CheckpointId(2), "better")
    before = await shard.dump()

    assert await shard.scripts.name("s", CheckpointId(2), "good") == (NameStatus.TAKEN, CheckpointId(1))
    assert await shard.dump() == before


@pytest.mark.parametrize(("sid", "seq"), [("s", 2), ("other", 1)])
async def test_only_a_checkpoint_that_is_kept_can_be_named(shard: Shard, sid, seq):
    await shard.save("a")

    assert await shard.scripts.name(sid, CheckpointId(seq), "good") == (NameStatus.UNKNOWN, NO_CHECKPOINT)


async def test_names_are_bounded_in_number(shard: Shard):
    await shard.save("a", "b")
    await shard.redis.hset(shard.keys.names("s"), mapping={f"n{seq}": seq for seq in range(2, MAX_NAMES + 2)})

    assert await shard.scripts.name("s", CheckpointId(1), "one more") == (NameStatus.FULL, NO_CHECKPOINT)
    assert await shard.scripts.name("s", CheckpointId(2), "another one") == (NameStatus.OK, NO_CHECKPOINT)


async def test_a_purge_removes_them(shard: Shard):
    claim = await shard.save("a")
    await shard.scripts.name("s", CheckpointId(1), "good")
    await shard.end(claim)

    assert not await shard.redis.exists(shard.keys.names("s"))
