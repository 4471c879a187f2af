"""open.lua: a session that has files before its first cell."""

import pytest

from skep_shared.broker.script_replies import Opened

pytestmark = pytest.mark.anyio


async def test_a_session_without_cells_is_as_a_submit_makes_it(shard):
    await shard.submit("a", sid="submitted")
    assert (await shard.scripts.open("s", b"options")).is_new

    submitted = await shard.redis.hgetall(shard.keys.session("submitted"))
    opened = await shard.redis.hgetall(shard.keys.session("s"))
    assert opened.keys() == submitted.keys()
    assert (opened[b"seq"], opened[b"options"], opened[b"state"]) == (b"0", b"options", b"open")
    assert await shard.redis.zscore(shard.keys.sessions, "s") is not None


async def test_an_existing_session_is_unchanged(shard):
    await shard.submit("a")
    before = await shard.dump()

    assert await shard.scripts.open("s", b"options") == Opened(is_new=False)
    assert await shard.dump() == before


async def test_its_first_cell_is_number_one(shard):
    await shard.scripts.open("s", b"")
    submitted = await shard.submit("a")

    assert [cell.seq for cell in submitted.cells] == [1]
