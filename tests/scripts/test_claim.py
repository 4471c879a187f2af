"""claim.lua: one live owner a session, and a new epoch with every change of owner."""

import asyncio

import pytest

from skep_shared.broker.script_replies import CellCommit, ClaimStatus
from skep_shared.errors import Fenced

pytestmark = pytest.mark.anyio


async def test_a_free_session_is_given_with_where_it_stands(shard):
    await shard.submit("a", "b")

    claim = await shard.claim("w1", token="t1")

    assert (claim.session_id, claim.token, claim.epoch) == ("s", "t1", 1)
    assert (claim.cursor, claim.seq, claim.last_event) == (0, 2, 0)
    assert (claim.losses, claim.previous_owner, claim.closing, claim.options) == (0, "", False, b"options")


async def test_a_claim_names_the_owner_and_its_token(shard):
    await shard.submit("a")
    await shard.claim("w1", token="t1")

    session = await shard.session()
    assert (session["owner"], session["token"], session["epoch"]) == ("w1", "t1", "1")
    assert await shard.owned("w1") == {"s"}


async def test_a_claimed_session_waits_no_more(shard):
    await shard.submit("a")
    await shard.claim()

    assert await shard.waiting() == {}


async def test_an_unknown_session_is_refused_and_removed_from_the_waiting_ones(shard):
    await shard.join("w1")
    await shard.redis.zadd(shard.keys.waiting, {"s": 1})

    assert await shard.scripts.claim("s", "w1", "t1") is ClaimStatus.UNKNOWN
    assert await shard.waiting() == {}
    assert await shard.session() == {}


async def test_a_closed_session_is_refused_and_removed_from_the_waiting_ones(shard):
    await shard.submit("a")
    claim = await shard.claim()
    await shard.commit(claim, CellCommit("a", 1, (b"e",)))
    await shard.scripts.release(claim, "w1")
    await shard.scripts.close("s")
    await shard.redis.zadd(shard.keys.waiting, {"s": 1})
    session = await shard.session()

    assert await shard.scripts.claim("s", "w1", "t2") is ClaimStatus.CLOSED
    assert await shard.waiting() == {}
    assert await shard.session() == session


async def test_a_worker_that_is_not_alive_gets_nothing(shard):
    await shard.submit("a")
    before = await shard.dump()

    assert await shard.scripts.claim("s", "w1", "t1") is ClaimStatus.NOT_ALIVE
    assert await shard.dump() == before


async def test_a_live_owner_keeps_its_session(shard):
    await shard.submit("a")
    claim = await shard.claim("w1")
    await shard.join("w2")
    session = await shard.session()

    assert await shard.scripts.claim("s", "w2", "t2") is ClaimStatus.OWNED
    assert await shard.session() == session
    assert await shard.owned("w2") == set()
    assert await shard.commit(claim, CellCommit("a", 1, (b"e",))) == 1


async def test_a_live_owner_is_woken_by_a_claim_that_it_wins(shard):
    await shard.submit("a", "b")
    await shard.claim("w1")
    await shard.join("w2")
    await shard.redis.zadd(shard.keys.waiting, {"s": 1})

    await shard.scripts.claim("s", "w2", "t2")

    assert await shard.mail("w1") == [{"k": "wake", "s": "s", "q": "2"}]
    assert await shard.waiting() == {}


async def test_a_dead_owners_session_is_claimed_under_a_new_epoch(shard):
    await shard.submit("a")
    await shard.claim("w1")
    await shard.kill("w1")

    claim = await shard.claim("w2")

    assert (claim.epoch, claim.losses, claim.previous_owner) == (2, 1, "w1")
    assert (await shard.session())["owner"] == "w2"
    assert (await shard.owned("w1"), await shard.owned("w2")) == (set(), {"s"})


async def test_the_owner_that_was_mistaken_for_dead_is_fenced(shard):
    await shard.submit("a")
    old = await shard.claim("w1")
    await shard.kill("w1")
    await shard.claim("w2")

    with pytest.raises(Fenced) as caught:
        await shard.scripts.emit(old, 1, [b"e"])
    assert (caught.value.session_id, caught.value.epoch) == ("s", 2)


async def test_losses_add_up_until_a_commit(shard):
    await shard.submit("a")
    for worker in ("w1", "w2", "w3"):
        claim = await shard.claim(worker)
        await shard.kill(worker)
    assert claim.losses == 2

    await shard.commit(claim, CellCommit("a", 1, (b"e",)))

    assert (await shard.claim("w4")).losses == 1


async def test_a_released_session_is_claimed_without_a_loss(shard):
    await shard.submit("a")
    await shard.scripts.release(await shard.claim("w1"), "w1")

    claim = await shard.claim("w2")

    assert (claim.epoch, claim.losses, claim.previous_owner) == (2, 0, "w1")


async def test_a_claim_sent_again_changes_nothing(shard):
    await shard.submit("a")
    await shard.claim("w1", token="t1")
    before = await shard.dump()

    await shard.scripts.claim("s", "w1", "t1")

    assert await shard.dump() == before


@pytest.mark.parametrize("how", ["new", "released", "dead"])
async def test_a_claim_sent_again_is_answered_the_same(shard, how):
    await shard.submit("a")
    if how != "new":
        earlier = await shard.claim("w1")
        await (shard.kill("w1") if how == "dead" else shard.scripts.release(earlier, "w1"))
    claim = await shard.claim("w2", token="t2")

    assert await shard.scripts.claim("s", "w2", "t2") == claim


async def test_the_owner_itself_may_claim_again_with_another_token(shard):
    await shard.submit("a")
    old = await shard.claim("w1", token="t1")

    new = await shard.claim("w1", token="t2")

    assert (new.epoch, await shard.owned("w1")) == (2, {"s"})
    with pytest.raises(Fenced):
        await shard.scripts.emit(old, 1, [b"e"])


async def test_a_closing_session_can_be_claimed_to_be_ended(shard):
    await shard.submit("a")
    await shard.scripts.close("s")

    assert (await shard.claim()).closing


@pytest.fixture
async def idle(shard):
    """A session whose owner, w1, has nothing to do."""
    await shard.submit("a")
    claim = await shard.claim("w1")
    await shard.commit(claim, CellCommit("a", 1, (b"e",)))
    return claim


@pytest.mark.parametrize("found_dead", ["by recover", "by claim"])
@pytest.mark.parametrize("submitted", ["before its death", "while its lease lasts", "after its death"])
async def test_an_owner_that_had_begun_no_pending_cell_is_an_idle_loss(shard, idle, submitted, found_dead):
    if submitted == "before its death":
        await shard.submit("b")
    elif submitted == "while its lease lasts":  # dead already, and its alive marker still there
        await shard.submit("b")
        assert await shard.mail("w1")
    await shard.kill("w1")
    if submitted == "after its death":
        await shard.submit("b")
    if found_dead == "by recover":
        await shard.scripts.recover(silence_ms=0, page=100, patience_ms=0)

    claim = await shard.claim("w2")

    assert (claim.losses, claim.idle_losses) == (1, 1)
    assert await shard.claim("w2") == claim  # sent again


async def test_an_owner_that_died_with_the_cell_it_had_begun_is_a_loss(shard, idle):
    await shard.submit("b")
    await shard.scripts.begin(idle, 2)
    await shard.kill("w1")

    claim = await shard.claim("w2")
    assert (claim.losses, claim.idle_losses) == (1, 0)
    await shard.kill("w2")  # which has begun nothing
    claim = await shard.claim("w3")
    assert (claim.losses, claim.idle_losses) == (2, 1)
    await shard.commit(claim, CellCommit("b", 2, (b"e",)), cursor=1, first=2)
    await shard.kill("w3")
    claim = await shard.claim("w4")
    assert (claim.losses, claim.idle_losses) == (1, 1)


@pytest.mark.parametrize("begun", [0, 3], ids=["the cell after has not begun", "the cell after has begun"])
async def test_a_commit_records_whether_the_next_cell_has_begun(shard, idle, begun):
    await shard.submit("b", "c")
    await shard.scripts.begin(idle, 2)
    await shard.commit(idle, CellCommit("b", 2, (b"e",)), cursor=1, first=2, begun=begun)
    await shard.kill("w1")

    claim = await shard.claim("w2")

    assert (claim.losses, claim.idle_losses) == (1, 0 if begun else 1)


async def test_only_the_owner_records_the_cell_that_it_begins(shard, idle):
    await shard.submit("b")
    await shard.kill("w1")
    claim = await shard.claim("w2")
    before = await shard.session()

    with pytest.raises(Fenced):
        await shard.scripts.begin(idle, 2)

    assert await shard.session() == before
    assert await shard.scripts.begin(claim, 2) == 2
    assert (await shard.session())["begun"] == "2"


async def test_an_owner_that_died_with_a_cell_is_one(shard, idle):
    await shard.submit("b")
    await shard.kill("w1")
    await shard.scripts.recover(silence_ms=0, page=100, patience_ms=0)
    await shard.submit("c")

    assert (await shard.claim("w2")).losses == 1


async def test_the_cell_that_an_owner_begins_is_recorded_without_a_write_to_the_disk(own_shard):
    redis = own_shard.redis
    await own_shard.submit("a")
    claim = await own_shard.claim("w1")
    await own_shard.scripts.begin(claim, 1)  # the server has the script now
    await redis.config_set("appendfsync", "always")  # otherwise a slow disk makes it put off its writes
    await redis.config_set("appendonly", "yes")
    while (await redis.info("persistence"))["aof_rewrite_in_progress"]:  # noqa: ASYNC110 - it sends no signal
        await asyncio.sleep(0.02)

    async def written():
        return (await redis.info("persistence"))["aof_current_size"]

    before = await written()
    await own_shard.scripts.begin(claim, 2)
    assert (await own_shard.session())["begun"] == "2"
    assert await written() == before
    await own_shard.scripts.emit(claim, 1, [b"e"])
    assert await written() > before
