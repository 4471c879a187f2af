"""shard.lua: what all workers of a shard share, written once."""

import pytest

from skep_shared.broker.layout import LAYOUT
from skep_shared.broker.script_replies import Shard
from skep_shared.errors import RedisUnsuitable

pytestmark = pytest.mark.anyio

FIRST, SECOND = Shard("one", "/first", 1), Shard("two", "/second", 2)


async def join(shard, proposed, worker="w1", *, is_directory_chosen=False):
    return await shard.scripts.join_shard(worker, proposed, is_directory_chosen=is_directory_chosen)


async def test_the_first_worker_decides_and_all_others_adopt_it(shard):
    assert await join(shard, FIRST) == FIRST
    assert await join(shard, SECOND, "w2") == FIRST
    assert await join(shard, FIRST) == FIRST


async def test_a_new_record_is_written_where_the_old_one_is_gone(shard):
    await join(shard, FIRST)
    await shard.redis.delete(shard.keys.shard)

    assert await join(shard, SECOND, "w2") == SECOND


async def test_a_chosen_directory_does_not_replace_that_of_a_worker_that_lives(shard):
    await join(shard, FIRST)
    await shard.join("w1")

    assert await join(shard, SECOND, "w2", is_directory_chosen=True) == FIRST


async def test_a_chosen_directory_replaces_the_shards_when_no_other_worker_lives(shard):
    await join(shard, FIRST)
    await shard.join("w1")
    await shard.kill("w1")

    moved = await join(shard, SECOND, "w2", is_directory_chosen=True)
    assert moved == Shard("one", "/second", 1)
    assert await join(shard, FIRST, "w3") == moved


async def test_the_worker_itself_does_not_count_as_another(shard):
    await join(shard, FIRST)
    await shard.join("w1")

    assert (await join(shard, SECOND, "w1", is_directory_chosen=True)).directory == "/second"


@pytest.mark.parametrize("stored", [str(LAYOUT + 1), None], ids=["another", "none"])
async def test_a_worker_of_another_layout_is_refused_and_writes_nothing(shard, stored):
    await join(shard, FIRST)
    if stored is None:
        await shard.redis.hdel(shard.keys.shard, "layout")
    else:
        await shard.redis.hset(shard.keys.shard, "layout", stored)
    before = await shard.dump()

    with pytest.raises(RedisUnsuitable, match="SKEP_PREFIX"):
        await join(shard, SECOND, "w2", is_directory_chosen=True)
    assert await shard.dump() == before
