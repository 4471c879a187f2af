"""A session that asks for a sandbox is never owned by a worker with a weaker one, and no script weakens what it asks for."""

import itertools

import msgpack
import pytest

from skep_shared.broker.script_replies import (
    CellCommit,
    Claim,
    ClaimStatus,
    ForkSource,
    ForkStatus,
    Opened,
    SubmitStatus,
)
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.isolation.sandbox_tiers import STRENGTH, Tier, is_as_strong
from skep_shared.models import SessionOptions

pytestmark = pytest.mark.anyio

PAIRS = list(itertools.product(STRENGTH, STRENGTH))
UNKNOWN = msgpack.packb({"sandbox": "of a newer version"})


def options(tier):
    return SessionOptions(sandbox=tier).pack()


async def submit(shard, cell, packed, *, sid="s"):
    return await shard.scripts.submit(sid, [(cell, b"body")], max_pending=9, options=packed)


async def field(shard, name, sid="s"):
    return await shard.redis.hget(shard.keys.session(sid), name)


async def claim(shard, tier, worker="w1"):
    await shard.join(worker)
    return await shard.scripts.claim("s", worker, f"token of {worker}", sandbox=tier)


@pytest.mark.parametrize(("wanted", "tier"), PAIRS)
async def test_a_claim_succeeds_exactly_with_the_wanted_tier_or_a_stronger_one(shard, wanted, tier):
    await submit(shard, "a", options(wanted))
    found = await claim(shard, tier)

    if is_as_strong(tier, wanted):
        assert isinstance(found, Claim)
    else:
        assert found is ClaimStatus.WEAKER


async def test_a_refused_claim_changes_nothing_so_the_session_waits_on(shard):
    await submit(shard, "a", options("basic"))
    await shard.join("w1")
    before = await shard.dump()

    assert await shard.scripts.claim("s", "w1", "t1", sandbox="none") is ClaimStatus.WEAKER
    assert await shard.dump() == before
    assert set(await shard.waiting()) == {"s"}


@pytest.mark.parametrize("tier", STRENGTH)
async def test_a_tier_that_only_a_newer_version_knows_is_refused_by_every_worker(shard, tier):
    await submit(shard, "a", UNKNOWN)

    assert await claim(shard, tier) is ClaimStatus.WEAKER


async def test_a_worker_with_an_unknown_tier_gets_only_sessions_that_ask_for_none(shard):
    await submit(shard, "a", options("basic"))
    assert await claim(shard, "of a newer version") is ClaimStatus.WEAKER
    await submit(shard, "a", options("none"), sid="free")
    assert isinstance(await shard.scripts.claim("free", "w1", "t1", sandbox="of a newer version"), Claim)


async def test_labels_of_that_name_ask_for_no_sandbox(shard):
    await submit(shard, "a", SessionOptions(labels={"sandbox": "strict"}).pack())

    assert isinstance(await claim(shard, "none"), Claim)


async def test_a_takeover_needs_the_tier_too(shard):
    await submit(shard, "a", options("basic"))
    first = await claim(shard, "basic")
    await shard.kill("w1")

    assert await claim(shard, "none", "w2") is ClaimStatus.WEAKER
    assert await field(shard, "epoch") == b"1"
    assert await shard.commit(first, CellCommit("a", 1, (b"e",))) == 1  # the owner has lost nothing by it
    assert (await claim(shard, "strict", "w3")).epoch == 2


async def test_so_does_a_claim_after_a_release(shard):
    await submit(shard, "a", options("basic"))
    await shard.scripts.release(await claim(shard, "basic"), "w1")

    assert await claim(shard, "none", "w2") is ClaimStatus.WEAKER
    assert (await claim(shard, "basic", "w3")).epoch == 2


async def test_a_weaker_worker_still_wakes_a_live_owner(shard):
    await submit(shard, "a", options("basic"))
    await claim(shard, "basic")

    assert await claim(shard, "none", "w2") is ClaimStatus.OWNED
    assert await shard.mail("w1") == [{"k": "wake", "s": "s", "q": "1"}]


async def test_a_closing_session_needs_the_tier_too_since_a_forged_close_is_undone_by_its_owner(shard):
    await submit(shard, "a", options("basic"))
    await shard.scripts.close("s")

    assert await claim(shard, "none") is ClaimStatus.WEAKER
    assert (await claim(shard, "basic")).closing


async def test_a_closed_session_is_refused_as_closed(shard):
    await shard.scripts.open("s", options("basic"))
    await shard.scripts.close("s")

    assert await claim(shard, "none") is ClaimStatus.CLOSED


# --- submits


@pytest.mark.parametrize(("wanted", "stored"), PAIRS)
async def test_a_submit_to_a_session_that_asks_for_less_is_refused(shard, wanted, stored):
    await submit(shard, "a", options(stored))
    before = await shard.dump()
    submitted = await submit(shard, "b", options(wanted))

    if is_as_strong(stored, wanted):
        assert submitted.status is SubmitStatus.OK
    else:
        assert (submitted.status, submitted.sandbox) == (SubmitStatus.WEAKER, stored)
        assert await shard.dump() == before


async def test_a_known_cell_is_found_again_whatever_sandbox_is_asked_for(shard):
    await submit(shard, "a", options("none"))

    assert (await submit(shard, "a", options("strict"))).status is SubmitStatus.OK


async def test_a_submit_does_not_change_what_a_session_asks_for(shard):
    await submit(shard, "a", options("strict"))
    await submit(shard, "b", options("none"))

    assert await claim(shard, "userns") is ClaimStatus.WEAKER


async def test_an_open_of_a_session_that_asks_for_less_says_so(shard):
    await shard.scripts.open("s", options("basic"))

    assert await shard.scripts.open("s", options("none")) == Opened(is_new=False)
    assert await shard.scripts.open("s", options("basic")) == Opened(is_new=False)
    assert await shard.scripts.open("s", options("strict")) == Opened(is_new=False, sandbox="basic")


# --- forks


async def forked(shard, packed):
    owned = await claim(shard, "strict")
    await shard.commit(owned, CellCommit("a", 1, (b"e",), manifest=b"m"))
    source = ForkSource("s", int(await field(shard, "created_at")), CheckpointId(1))
    return await shard.scripts.fork(source, ["f"], b"m", "request", packed)


async def test_a_fork_asks_for_the_sandbox_of_its_source(shard):
    await submit(shard, "a", options("basic"))
    assert await forked(shard, b"") == (ForkStatus.OK, [])

    assert await shard.scripts.claim("f", "w1", "t2", sandbox="none") is ClaimStatus.WEAKER
    assert isinstance(await shard.scripts.claim("f", "w1", "t2", sandbox="basic"), Claim)


@pytest.mark.parametrize(("wanted", "stored"), PAIRS)
async def test_a_fork_may_ask_for_more_and_not_for_less(shard, wanted, stored):
    await submit(shard, "a", options(stored))
    status, found = await forked(shard, msgpack.packb({"sandbox": wanted}))

    if is_as_strong(wanted, stored):
        assert (status, found) == (ForkStatus.OK, [])
        assert SessionOptions.unpack(await field(shard, "options", "f")).sandbox == wanted
    else:
        assert (status, found) == (ForkStatus.WEAKER, [stored])
        assert await field(shard, "state", "f") is None


async def test_a_fork_keeps_an_unknown_tier_and_can_not_replace_it(shard):
    await submit(shard, "a", UNKNOWN)
    await shard.redis.hset(shard.keys.session("s"), "options", options(Tier.NONE))
    claimed = await claim(shard, "strict")
    await shard.commit(claimed, CellCommit("a", 1, (b"e",), manifest=b"m"))
    await shard.redis.hset(shard.keys.session("s"), "options", UNKNOWN)
    source = ForkSource("s", int(await field(shard, "created_at")), CheckpointId(1))

    status, found = await shard.scripts.fork(source, ["f"], b"m", "request", options("strict"))
    assert (status, found) == (ForkStatus.WEAKER, ["of a newer version"])
    assert await shard.scripts.fork(source, ["g"], b"m", "request 2") == (ForkStatus.OK, [])
    assert await field(shard, "options", "g") == UNKNOWN
