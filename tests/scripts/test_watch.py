"""watch.lua: where a cell stands, and a reply for who asks while it is pending."""

import pytest

from skep_shared.broker.script_replies import CellCommit, Placed

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("sid", "cell_id"), [("s", "b"), ("other", "a")], ids=["cell", "session"])
async def test_an_unknown_one_is_none_and_writes_nothing(shard, sid, cell_id):
    await shard.submit("a")
    before = await shard.dump()

    assert await shard.scripts.watch(sid, cell_id, client_id="c1") is None
    assert await shard.dump() == before


async def test_a_pending_cell_is_given_with_the_sessions_last_event(shard):
    await shard.submit("a", "b")
    claim = await shard.claim()
    await shard.scripts.emit(claim, 1, [b"e1", b"e2"])

    watched = await shard.scripts.watch("s", "b", client_id="c1")

    assert (watched.cell, watched.last_event) == (Placed(2), 2)


async def test_a_watcher_gets_the_reply(shard):
    await shard.submit("a")
    claim = await shard.claim()
    await shard.scripts.watch("s", "a", client_id="c1")

    await shard.commit(claim, CellCommit("a", 1, (b"e",)))

    [(pointer, _)] = await shard.replies("c1")
    assert pointer["c"] == "a"


async def test_a_watch_sent_again_changes_nothing(shard):
    await shard.submit("a", client="c1")
    await shard.scripts.watch("s", "a", client_id="c2")
    before = await shard.dump()

    again = await shard.scripts.watch("s", "a", client_id="c2")

    assert again.cell == Placed(1)
    assert await shard.dump() == before


async def test_a_watcher_is_added_to_the_earlier_ones(shard):
    await shard.submit("a", client="c1")
    await shard.scripts.watch("s", "a", client_id="c2")

    assert await shard.ids() == {"a": "p:1:c1,c2"}


async def test_a_client_whose_id_ends_like_another_joins_too(shard):
    await shard.submit("a", client="c12")
    await shard.scripts.watch("s", "a", client_id="2")

    assert await shard.ids() == {"a": "p:1:c12,2"}


async def test_only_looking_changes_nothing(shard):
    await shard.submit("a")
    before = await shard.dump()

    watched = await shard.scripts.watch("s", "a")

    assert watched.cell == Placed(1)
    assert await shard.dump() == before


async def test_a_committed_cell_is_given_with_its_events_and_nothing_is_noted(shard):
    await shard.submit("a", "b")
    claim = await shard.claim()
    await shard.commit(claim, CellCommit("a", 1, (b"e1",)), CellCommit("b", 2, (b"e2", b"e3")))
    before = await shard.dump()

    watched = await shard.scripts.watch("s", "b", client_id="c1")

    assert (watched.cell, watched.last_event) == (Placed(2, first_event=2, final_event=3), 3)
    assert await shard.dump() == before
