"""compare.lua: an owner asks for many sessions at once, and hears of those that are not where it takes them to be."""

from dataclasses import replace

import pytest

from skep_shared.script_replies import CellCommit, Mark

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sessions(shard):
    """Three sessions, each with one cell committed and one pending: their marks."""
    marks = {}
    for sid in ("a", "b", "c"):
        await shard.submit("1", "2", sid=sid)
        claim = await shard.claim("w1", sid=sid)
        await shard.commit(claim, CellCommit("1", 1, (b"e1", b"e2")))
        marks[sid] = Mark(2, 1, 2, claim.token)
    return marks


async def test_those_that_are_where_they_are_known_to_be_are_not_named(shard, sessions):
    before = await shard.dump()

    assert await shard.scripts.compare(sessions) == {}
    assert await shard.dump() == before


@pytest.mark.parametrize("wrong", [{"seq": 1}, {"cursor": 0}, {"last": 3}, {"token": "another"}], ids=str)
async def test_one_that_is_elsewhere_is_given_with_where_it_is(shard, sessions, wrong):
    known = sessions | {"b": replace(sessions["b"], **wrong)}

    assert await shard.scripts.compare(known) == {"b": (sessions["b"], False)}


async def test_one_that_is_closing_is_given_in_any_case(shard, sessions):
    await shard.scripts.close("c")

    assert await shard.scripts.compare(sessions) == {"c": (sessions["c"], True)}


async def test_one_that_is_gone_is_nowhere(shard, sessions):
    await shard.redis.delete(shard.keys.session("a"))

    assert await shard.scripts.compare(sessions) == {"a": (Mark(0, 0, 0, ""), False)}
