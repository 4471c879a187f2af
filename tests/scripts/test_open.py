"""open.lua: a session that has files before its first cell."""

import pytest

pytestmark = pytest.mark.anyio


async def test_a_session_without_cells_is_as_a_submit_makes_it(shard):
    await shard.submit("a", sid="submitted")
    assert await shard.scripts.open("s", b"options")

    submitted = await shard.redis.hgetall(shard.keys.session("submitted"))
    opened = await shard.redis.hgetall(shard.keys.session("s"))
    assert opened.keys() == submitted.keys()
    assert (opened[b"seq"], opened[b"options"], opened[b"state"]) == (b"0", b"options", b"open")
    assert await shard.redis.zscore(shard.keys.sessions, "s") is not None


async def test_a_session_that_is_there_stays_as_it_is(shard):
    await shard.submit("a")
    before = await shard.dump()

    assert not await shard.scripts.open("s", b"options")
    assert await shard.dump() == before


async def test_its_first_cell_is_number_one(shard):
    await shard.scripts.open("s", b"")
    submitted = await shard.submit("a")

    assert [cell.seq for cell in submitted.cells] == [1]
