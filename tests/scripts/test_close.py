"""close.lua and purge.lua: how a session ends, and how it is forgotten."""

import pytest

from skep_shared.errors import Fenced
from skep_shared.event_codec import unpack_event
from skep_shared.events import SessionClosedEvent
from skep_shared.script_replies import CellCommit, Closed, Placed, SubmitStatus

pytestmark = pytest.mark.anyio


@pytest.fixture
async def claim(shard):
    """The claim of w1 on a session whose cell `a` is committed with event 1."""
    await shard.submit("a")
    claim = await shard.claim("w1")
    await shard.commit(claim, CellCommit("a", 1, (b"e",)))
    return claim


async def test_an_unknown_session_can_not_be_closed(shard):
    assert await shard.scripts.close("s") == Closed("UNKNOWN")
    assert await shard.dump() == {}


async def test_a_session_with_nothing_to_do_is_closed_at_once(shard, claim):
    await shard.scripts.release(claim, "w1")

    assert await shard.scripts.close("s") == Closed("CLOSED", 2)
    session = await shard.session()
    assert (session["state"], session["owner"], session["last"]) == ("closed", "", "2")


async def test_the_closing_event_can_be_read(shard, claim):
    await shard.scripts.release(claim, "w1")
    await shard.scripts.close("s")

    event_id, packed = (await shard.events())[-1]
    event = unpack_event("s", event_id, packed)
    assert (type(event), event.id, event.epoch) == (SessionClosedEvent, "2-0", 2)


async def test_a_session_of_a_dead_owner_is_closed_under_a_new_epoch(shard, claim):
    await shard.kill("w1")

    assert await shard.scripts.close("s") == Closed("CLOSED", 2)
    assert (await shard.session())["epoch"] == "2"
    assert await shard.owned("w1") == set()
    with pytest.raises(Fenced):
        await shard.scripts.emit(claim, 3, [b"late"])


async def test_a_live_owner_is_asked_to_close(shard, claim):
    assert await shard.scripts.close("s") == Closed("CLOSING", 1, needs_activation=False)
    assert await shard.mail("w1") == [{"k": "close", "s": "s", "q": "0"}]
    session = await shard.session()
    assert (session["state"], session["owner"], session["epoch"]) == ("closing", "w1", "1")


@pytest.mark.parametrize("owned", [False, True], ids=["no owner", "dead owner"])
async def test_pending_cells_want_an_owner_to_end_them(shard, owned):
    await shard.submit("a")
    if owned:
        await shard.claim("w1")
        await shard.kill("w1")
    await shard.redis.delete(shard.keys.waiting)

    assert await shard.scripts.close("s") == Closed("CLOSING", 0, needs_activation=True)
    assert list(await shard.waiting()) == ["s"]
    assert await shard.pending() == [("1-0", "a")]


async def test_a_session_that_waits_already_needs_no_second_activation(shard):
    await shard.submit("a")

    assert await shard.scripts.close("s") == Closed("CLOSING", 0, needs_activation=False)


async def test_a_session_that_waits_already_has_waited_since_then(shard):
    await shard.submit("a")
    await shard.redis.zadd(shard.keys.waiting, {"s": 1})

    await shard.scripts.close("s")

    assert await shard.waiting() == {"s": 1}


async def test_closing_a_closed_session_changes_nothing(shard, claim):
    await shard.scripts.release(claim, "w1")
    await shard.scripts.close("s")
    before = await shard.dump()

    assert await shard.scripts.close("s") == Closed("CLOSED", 2)
    assert await shard.dump() == before


async def test_closing_a_closing_session_again_leaves_it_closing(shard, claim):
    await shard.scripts.close("s")
    session = await shard.session()

    assert (await shard.scripts.close("s")).state == "CLOSING"
    assert await shard.session() == session


async def test_a_closed_session_never_opens_again(shard, claim):
    await shard.scripts.close("s")
    await shard.scripts.release(claim, "w1", closing_event=b"closed", first_event=2)

    assert (await shard.submit("b")).status is SubmitStatus.CLOSED
    assert (await shard.session())["state"] == "closed"


async def test_a_closing_session_is_ended_by_its_next_owner(shard):
    await shard.submit("a")
    await shard.scripts.close("s")
    claim = await shard.claim("w2")
    await shard.commit(claim, CellCommit("a", 1, (b"e",)))

    await shard.scripts.release(claim, "w2", closing_event=b"closed", first_event=2)

    assert await shard.scripts.close("s") == Closed("CLOSED", 2)


async def test_a_closed_session_waits_for_nobody(shard, claim):
    await shard.kill("w1")
    await shard.redis.zadd(shard.keys.waiting, {"s": 1})

    await shard.scripts.close("s")

    assert await shard.waiting() == {}


async def test_purge_leaves_no_key(shard, claim):
    await shard.scripts.release(claim, "w1")
    await shard.scripts.close("s")
    await shard.scripts.leave("w1")
    await shard.redis.zadd(shard.keys.waiting, {"s": 1})

    assert await shard.scripts.purge("s")
    assert await shard.dump() == {}


@pytest.mark.parametrize("closing", [False, True], ids=["open", "closing"])
async def test_a_session_that_is_not_closed_is_not_purged(shard, claim, closing):
    if closing:
        await shard.scripts.close("s")
    before = await shard.dump()

    assert not await shard.scripts.purge("s")
    assert await shard.dump() == before


async def test_purging_again_is_harmless(shard, claim):
    await shard.scripts.release(claim, "w1")
    await shard.scripts.close("s")
    await shard.scripts.purge("s")
    before = await shard.dump()

    assert await shard.scripts.purge("s")
    assert await shard.dump() == before


async def test_other_sessions_outlive_a_purge(shard, claim):
    await shard.submit("a", "b", sid="other")
    await shard.scripts.release(claim, "w1")
    await shard.scripts.close("s")

    await shard.scripts.purge("s")

    assert len(await shard.pending("other")) == 2
    assert await shard.redis.zrange(shard.keys.sessions, 0, -1) == [b"other"]


async def test_a_purged_id_is_new_again(shard, claim):
    await shard.scripts.release(claim, "w1")
    await shard.scripts.close("s")
    await shard.scripts.purge("s")

    assert (await shard.submit("a")).cells == (Placed(1),)
    assert (await shard.claim("w2")).epoch == 1


async def test_an_owner_from_before_the_purge_is_fenced(shard, claim):
    await shard.kill("w1")
    await shard.scripts.close("s")
    await shard.scripts.purge("s")
    await shard.submit("a")
    assert (await shard.claim("w2")).epoch == claim.epoch  # only the token tells them apart

    with pytest.raises(Fenced):
        await shard.commit(claim, CellCommit("a", 1, (b"e",)))
