"""close.lua and purge.lua: how a session ends, and how it is forgotten."""

import pytest

from skep_shared.broker.script_replies import CellCommit, Closed, Placed, SubmitStatus
from skep_shared.errors import Fenced
from skep_shared.event_codec import unpack_event
from skep_shared.events import SessionClosedEvent
from skep_shared.models import SessionOptions

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
    assert await shard.scripts.close("s") == Closed("CLOSING", 1)
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
    await shard.drop_activations()

    assert await shard.scripts.close("s") == Closed("CLOSING", 0)
    assert await shard.activations() == ["s"]
    assert list(await shard.waiting()) == ["s"]
    assert await shard.pending() == [("1-0", "a")]


async def test_a_session_that_waits_already_is_not_activated_again(shard):
    await shard.submit("a")

    assert await shard.scripts.close("s") == Closed("CLOSING", 0)
    assert await shard.activations() == ["s"]  # of the submit


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


async def test_a_closed_session_does_not_wait_for_an_owner(shard, claim):
    await shard.kill("w1")
    await shard.redis.zadd(shard.keys.waiting, {"s": 1})

    await shard.scripts.close("s")

    assert await shard.waiting() == {}


async def test_purge_leaves_no_key(shard, claim):
    await shard.scripts.release(claim, "w1")
    await shard.scripts.close("s")
    await shard.scripts.leave("w1")
    await shard.redis.zadd(shard.keys.waiting, {"s": 1})
    await shard.drop_activations()

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


async def expiring(shard, *, unused_ms, expires_in=60):
    """Make a session without pending cells whose option expires_in is set; let it be unused for that long."""
    claim = await shard.save("a")
    seconds, micros = await shard.redis.time()
    used_at = seconds * 1000 + micros // 1000 - unused_ms
    options = {} if expires_in is None else {"expires_in": expires_in}
    fields = {"options": SessionOptions(**options).pack(), "active_at": used_at}
    await shard.redis.hset(shard.keys.session("s"), mapping=fields)
    return claim


async def test_a_session_that_is_unused_for_long_enough_is_closed(shard):
    await shard.scripts.release(await expiring(shard, unused_ms=61_000), "w1")

    assert (await shard.scripts.close("s", only_unused=True)).state == "CLOSED"
    assert await shard.redis.hget(shard.keys.session("s"), "state") == b"closed"


async def test_the_live_owner_of_an_unused_session_is_asked_to_close_it(shard):
    await expiring(shard, unused_ms=61_000)

    assert (await shard.scripts.close("s", only_unused=True)).state == "CLOSING"
    assert await shard.mail("w1") == [{"k": "close", "s": "s", "q": "0"}]


@pytest.mark.parametrize(("unused_ms", "expires_in"), [(30_000, 60), (10**9, None), (-10_000, 1)])
async def test_a_session_that_is_used_or_never_expires_is_not_closed(shard, unused_ms, expires_in):
    await expiring(shard, unused_ms=unused_ms, expires_in=expires_in)
    before = await shard.dump()

    assert (await shard.scripts.close("s", only_unused=True)).state == "USED"
    assert await shard.dump() == before


@pytest.mark.parametrize("is_alive", [True, False])
async def test_a_session_with_a_pending_cell_does_not_expire(shard, is_alive):
    await expiring(shard, unused_ms=61_000)
    await shard.submit("b")
    await shard.redis.hset(shard.keys.session("s"), "active_at", 1)
    if not is_alive:
        await shard.kill("w1")
    before = await shard.dump()

    assert (await shard.scripts.close("s", only_unused=True)).state == "USED"
    assert await shard.dump() == before


async def test_a_session_that_is_closing_already_does_not_expire(shard):
    await expiring(shard, unused_ms=61_000)
    await shard.scripts.close("s")
    before = await shard.dump()

    assert (await shard.scripts.close("s", only_unused=True)).state == "USED"
    assert await shard.dump() == before


async def test_an_unused_session_closes_without_a_condition_too(shard):
    await expiring(shard, unused_ms=0)

    assert (await shard.scripts.close("s")).state == "CLOSING"
