"""One look at all sessions notices new events for every listener."""

import pytest

from skep.gateway.webhooks.session_changes import SessionChanges

pytestmark = pytest.mark.anyio


@pytest.fixture
def write(shard):
    """Return a function that sets the number of a session's last event."""
    redis, keys = shard._link.redis, shard._link.keys

    async def write(session_id, last):
        await redis.hset(keys.session(session_id), mapping={"last": last, "created_at": 1})
        await redis.zadd(keys.sessions, {session_id: 1})

    return write


@pytest.fixture
def changes(shard):
    return SessionChanges(shard._link, 0.01)


async def test_a_session_is_reported_when_it_changes_and_only_then(changes, write):
    heard = []
    for number in range(450):  # three pages
        await write(f"s{number}", 1)
    with changes.listened(heard.append):
        await changes._look()
        assert len(heard) == 450
        heard.clear()
        await changes._look()
        assert heard == []
        await write("s449", 2)
        await write("new", 1)
        await changes._look()

    assert sorted(heard) == ["new", "s449"]


async def test_every_listener_hears_until_its_block_ends(changes, write):
    first, second = [], []
    with changes.listened(first.append):
        with changes.listened(second.append):
            await write("a", 1)
            await changes._look()
        await write("a", 2)
        await changes._look()

    assert (first, second) == (["a", "a"], ["a"])


async def test_purged_sessions_are_forgotten(changes, write, shard):
    await write("a", 1)
    await changes._look()
    await shard._link.redis.zrem(shard._link.keys.sessions, "a")
    await changes._look()

    assert changes._marks == {}


async def test_without_listeners_nothing_is_read(changes, write, eventually, monkeypatch):
    looks = []
    look = changes._look

    async def count():
        looks.append(1)
        await look()

    monkeypatch.setattr(changes, "_look", count)
    heard = []
    await write("a", 1)
    async with changes:
        assert not looks
        with changes.listened(heard.append):

            async def has_heard():
                return heard

            await eventually(has_heard)
    assert looks
