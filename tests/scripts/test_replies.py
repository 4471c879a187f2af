"""The replies that commit.lua sends to the clients that wait."""

import pytest
from redis.exceptions import ResponseError

from skep_shared.broker.script_replies import CellCommit
from skep_shared.errors import Fenced

pytestmark = pytest.mark.anyio


async def test_a_reply_points_to_the_cells_events_and_carries_them(shard):
    await shard.submit("a", client="c1")
    claim = await shard.claim()

    await shard.commit(claim, CellCommit("a", 1, (b"e1", b"e2")))

    assert await shard.replies("c1") == [({"c": "a", "s": "s", "q": "1", "f": "1", "l": "2"}, [b"e1", b"e2"])]


async def test_each_watcher_of_a_cell_gets_the_reply_once(shard):
    for client in ("c1", "c2", "c1"):
        await shard.submit("a", client=client)
    await shard.scripts.watch("s", "a", client_id="c3")
    claim = await shard.claim()

    await shard.commit(claim, CellCommit("a", 1, (b"e",)))

    replies = [await shard.replies(client) for client in ("c1", "c2", "c3")]
    assert replies == [[({"c": "a", "s": "s", "q": "1", "f": "1", "l": "1"}, [b"e"])]] * 3


async def test_a_group_commit_replies_for_each_cell_to_its_waiting_clients(shard):
    await shard.submit("a", client="c1")
    await shard.submit("b", client="c2")
    await shard.submit("c", client="c1")
    claim = await shard.claim()

    await shard.commit(
        claim, CellCommit("a", 1, (b"a1",)), CellCommit("b", 2, (b"b1", b"b2")), CellCommit("c", 4, (b"c1",))
    )

    assert await shard.replies("c1") == [
        ({"c": "a", "s": "s", "q": "1", "f": "1", "l": "1"}, [b"a1"]),
        ({"c": "c", "s": "s", "q": "3", "f": "4", "l": "4"}, [b"c1"]),
    ]
    assert await shard.replies("c2") == [({"c": "b", "s": "s", "q": "2", "f": "2", "l": "3"}, [b"b1", b"b2"])]


async def test_without_a_client_no_reply_is_written(shard):
    await shard.submit("a")
    claim = await shard.claim()

    await shard.commit(claim, CellCommit("a", 1, (b"e",)))

    assert [key for key in await shard.dump() if "client" in key] == []


@pytest.mark.parametrize(("limit", "carried"), [(6, [b"123", b"456"]), (5, [])])
async def test_a_reply_carries_events_up_to_the_limit(shard, limit, carried):
    await shard.submit("a", client="c1")
    claim = await shard.claim()

    await shard.commit(claim, CellCommit("a", 1, (b"123", b"456")), inline_bytes=limit)

    assert await shard.replies("c1") == [({"c": "a", "s": "s", "q": "1", "f": "1", "l": "2"}, carried)]


@pytest.mark.parametrize(("count", "carried"), [(64, 64), (65, 0)])
async def test_a_reply_carries_at_most_64_events(shard, count, carried):
    await shard.submit("a", client="c1")
    claim = await shard.claim()

    await shard.commit(claim, CellCommit("a", 1, (b"e",) * count))

    [(pointer, events)] = await shard.replies("c1")
    assert (pointer["l"], len(events)) == (str(count), carried)


@pytest.mark.parametrize(("written", "carried"), [(4, [b"e1", b"e2", b"e3"]), (9, []), (None, [])])
async def test_a_reply_includes_earlier_events_if_they_are_known_to_be_small(shard, written, carried):
    await shard.submit("a", client="c1")
    claim = await shard.claim()
    await shard.scripts.emit(claim, 1, [b"e1", b"e2"])

    cell = CellCommit("a", 1, (b"e3",), written_bytes=written)
    await shard.commit(claim, cell, first=3, inline_bytes=10)

    assert await shard.replies("c1") == [({"c": "a", "s": "s", "q": "1", "f": "1", "l": "3"}, carried)]


@pytest.mark.parametrize(("count", "carried"), [(64, 64), (65, 0)])
async def test_of_these_too_a_reply_carries_at_most_64(shard, count, carried):
    await shard.submit("a", client="c1")
    claim = await shard.claim()
    await shard.scripts.emit(claim, 1, [b"e"] * (count - 1))

    await shard.commit(claim, CellCommit("a", 1, (b"last",)), first=count)

    [(_, events)] = await shard.replies("c1")
    assert len(events) == carried


async def test_in_a_group_each_cell_carries_its_own(shard):
    await shard.submit("a", "b", client="c1")
    claim = await shard.claim()
    await shard.scripts.emit(claim, 1, [b"a1"])

    await shard.commit(claim, CellCommit("a", 1, (b"a2",)), CellCommit("b", 3, (b"b1",)), first=2)

    assert [events for _, events in await shard.replies("c1")] == [[b"a1", b"a2"], [b"b1"]]


async def test_a_resent_commit_replies_only_once(shard):
    await shard.submit("a", client="c1")
    claim = await shard.claim()
    for _ in range(2):
        await shard.commit(claim, CellCommit("a", 1, (b"e",)))

    assert len(await shard.replies("c1")) == 1


async def test_a_refused_commit_sends_no_reply(shard):
    await shard.submit("a", client="c1")
    claim = await shard.claim("w1")
    await shard.kill("w1")
    await shard.claim("w2")

    with pytest.raises(Fenced):
        await shard.commit(claim, CellCommit("a", 1, (b"e",)))
    assert await shard.replies("c1") == []


async def test_a_reply_stream_ends_by_itself(shard):
    await shard.submit("a", client="c1")
    claim = await shard.claim()

    await shard.commit(claim, CellCommit("a", 1, (b"e",)), reply_ttl_ms=50_000)

    assert 0 < await shard.redis.pttl(shard.keys.replies("c1")) <= 50_000


async def test_each_reply_prolongs_the_streams_life(shard):
    await shard.submit("a", "b", client="c1")
    claim = await shard.claim()
    await shard.commit(claim, CellCommit("a", 1, (b"e",)), reply_ttl_ms=50_000)

    await shard.commit(claim, CellCommit("b", 2, (b"e",)), cursor=1, first=2, reply_ttl_ms=5_000_000)

    assert await shard.redis.pttl(shard.keys.replies("c1")) > 50_000


@pytest.mark.parametrize("ttl_ms", [0, -1, 1.5, 10**30])
async def test_a_commit_with_an_impossible_reply_ttl_writes_nothing(shard, ttl_ms):
    """Redis refuses such an expiry in the middle of the script, where nothing can be taken back."""
    await shard.submit("a", client="c1")
    claim = await shard.claim()
    before = await shard.dump()

    with pytest.raises(ResponseError, match="TTL"):
        await shard.commit(claim, CellCommit("a", 1, (b"e",)), reply_ttl_ms=ttl_ms)
    assert await shard.dump() == before
