"""answer.lua: an answer finds its client also on a server that refuses plain writes."""

import pytest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("maxmemory", [0, 1], ids=["with room", "full"])
async def test_an_answer_is_among_its_clients_replies_for_a_time(own_shard, maxmemory):
    redis, key = own_shard.redis, own_shard.keys.replies("c1")
    await own_shard.scripts.answer("c1", "before", 0, b"x", 1000)
    await redis.config_set("maxmemory", maxmemory)
    await own_shard.scripts.answer("c1", "o1", 3, b"why\xff", 60_000)
    await own_shard.scripts.answer("c2", "o2", 0, b"first", 60_000)

    assert [fields for _, fields in await redis.xrange(key)][1] == {b"o": b"o1", b"x": b"3", b"d": b"why\xff"}
    assert 1000 < await redis.pttl(key) <= 60_000
    assert 0 < await redis.pttl(own_shard.keys.replies("c2")) <= 60_000
