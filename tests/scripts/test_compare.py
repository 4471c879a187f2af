"""compare.lua: an owner asks for many sessions at once, and hears of those that are not where it takes them to be."""

from dataclasses import replace

import pytest

from skep_shared.broker.script_replies import CellCommit, Mark

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


async def test_sessions_that_match_their_mark_are_omitted(shard, sessions):
    before = await shard.dump()

    assert await shard.scripts.compare(sessions) == {}
    assert await shard.dump() == before


@pytest.mark.parametrize("wrong", [{"seq": 1}, {"cursor": 0}, {"last": 3}, {"token": "another"}], ids=str)
async def test_a_session_with_another_mark_is_included_with_its_mark(shard, sessions, wrong):
    known = sessions | {"b": replace(sessions["b"], **wrong)}

    assert await shard.scripts.compare(known) == {"b": (sessions["b"], False)}


async def test_a_closing_session_is_always_included(shard, sessions):
    await shard.scripts.close("c")

    assert await shard.scripts.compare(sessions) == {"c": (sessions["c"], True)}


async def test_an_unknown_session_has_an_empty_mark(shard, sessions):
    await shard.redis.delete(shard.keys.session("a"))

    assert await shard.scripts.compare(sessions) == {"a": (Mark(0, 0, 0, ""), False)}


async def test_a_number_that_can_not_be_read_counts_as_none(shard, sessions):
    """The reply about it was too short, which ended the worker that asked about all its sessions."""
    await shard.redis.hset(shard.keys.session("b"), "last", "foreign")

    assert await shard.scripts.compare(sessions) == {"b": (replace(sessions["b"], last=0), False)}
