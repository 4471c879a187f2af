"""recover.lua: dead workers lose their sessions, and who wants an owner is named."""

import pytest
from tests.redis_clock import step_clock

from skep_shared.broker.script_replies import CellCommit, Recovered

pytestmark = pytest.mark.anyio

HOUR_MS = 3_600_000


@pytest.fixture
def recover(shard):
    """Look at a page; `patience_ms` 0 names whoever waits."""

    async def call(*, silence_ms=0, page=100, patience_ms=HOUR_MS):
        return await shard.scripts.recover(silence_ms=silence_ms, page=page, patience_ms=patience_ms)

    return call


@pytest.fixture
def own(shard):
    """Have a worker own sessions, each with a pending cell."""

    async def call(worker, *sids):
        for sid in sids:
            await shard.submit("a", sid=sid)
            await shard.claim(worker, sid=sid)

    return call


async def test_without_workers_and_sessions_there_is_nothing(recover):
    assert await recover() == Recovered(0, ())


async def test_a_dead_workers_sessions_are_named(shard, recover, own):
    await own("w1", "s1", "s2")
    await shard.kill("w1")

    found = await recover()

    assert (found.dead, sorted(found.waiting)) == (1, ["s1", "s2"])


async def test_a_dead_worker_is_forgotten_once_it_owns_nothing(shard, recover, own):
    await own("w1", "s")
    await shard.submit("b")
    await shard.kill("w1")
    await recover()

    assert [key for key in await shard.dump() if "worker" in key] == []
    assert (await recover()).dead == 0


async def test_a_session_keeps_its_dead_owner_and_epoch_until_it_is_claimed(shard, recover, own):
    await own("w1", "s")
    await shard.kill("w1")
    session = await shard.session()

    await recover()

    assert await shard.session() == session


async def test_a_live_worker_keeps_its_sessions_however_old_its_heartbeat(shard, recover, own):
    await own("w1", "s")
    await shard.redis.zadd(shard.keys.workers, {"w1": 1})
    before = await shard.dump()

    assert await recover() == Recovered(0, ())
    assert await shard.dump() == before


async def test_a_worker_that_was_heard_a_moment_ago_is_not_looked_at(shard, recover, own):
    await own("w1", "s")
    await shard.redis.delete(shard.keys.worker("w1"))
    before = await shard.dump()

    assert await recover(silence_ms=HOUR_MS) == Recovered(0, ())
    assert await shard.dump() == before


async def test_a_dead_workers_idle_sessions_are_let_go_unnamed(shard, recover):
    await shard.submit("a")
    claim = await shard.claim("w1")
    await shard.commit(claim, CellCommit("a", 1, (b"e",)))
    await shard.kill("w1")

    assert await recover() == Recovered(1, ())
    assert await shard.owned("w1") == set()


async def test_a_dead_workers_closing_session_is_named_to_be_ended(shard, recover):
    await shard.submit("a")
    claim = await shard.claim("w1")
    await shard.commit(claim, CellCommit("a", 1, (b"e",)))
    await shard.scripts.close("s")
    await shard.kill("w1")

    assert (await recover()).waiting == ("s",)


async def test_a_session_that_has_moved_on_is_not_named(shard, recover, own):
    await own("w1", "s")
    await shard.kill("w1")
    await shard.claim("w2")
    await shard.redis.sadd(shard.keys.owned("w1"), "s")  # as if w2 had claimed while recovery looked at w1

    assert await recover() == Recovered(1, ())
    assert (await shard.session())["owner"] == "w2"


async def test_a_page_bounds_how_many_dead_workers_are_looked_at(shard, recover, own):
    for worker in ("w1", "w2", "w3"):
        await own(worker, f"session of {worker}")
        await shard.kill(worker)

    assert [(await recover(page=2)).dead for _ in range(3)] == [2, 1, 0]


async def test_a_page_bounds_how_many_sessions_of_a_worker_are_let_go(shard, recover, own):
    await own("w1", *(f"s{n}" for n in range(5)))
    await shard.kill("w1")

    pages = [await recover(page=2) for _ in range(4)]

    assert [(page.dead, len(page.waiting)) for page in pages] == [(1, 2), (1, 2), (1, 1), (0, 0)]
    assert {sid for page in pages for sid in page.waiting} == {f"s{n}" for n in range(5)}


async def test_a_page_bounds_how_many_waiting_sessions_are_named(shard, recover):
    await shard.redis.zadd(shard.keys.waiting, {f"s{n}": n for n in range(5)})

    pages = [(await recover(page=2)).waiting for _ in range(4)]

    assert pages == [("s0", "s1"), ("s2", "s3"), ("s4",), ()]


async def test_a_session_that_has_just_begun_to_wait_is_not_named_yet(shard, recover):
    await shard.submit("a")

    assert (await recover(patience_ms=HOUR_MS)).waiting == ()
    assert (await recover(patience_ms=0)).waiting == ("s",)


async def test_a_named_session_is_named_again_only_after_another_wait(shard, recover):
    await shard.redis.zadd(shard.keys.waiting, {"s": 1})

    named = [(await recover()).waiting for _ in range(2)]

    assert named == [("s",), ()]
    assert list(await shard.waiting()) == ["s"]


async def test_the_death_of_its_owner_does_not_reset_a_sessions_waiting_time(shard, recover, own):
    await own("w1", "s")
    await shard.kill("w1")
    await shard.redis.zadd(shard.keys.waiting, {"s": 1})

    assert (await recover()).waiting == ("s",)


async def test_a_waiting_session_retains_its_waiting_time(shard, recover, own):
    await own("w1", "s")
    await shard.kill("w1")
    await shard.redis.zadd(shard.keys.waiting, {"s": 2, "before-it": 1})

    assert (await recover(page=1)).waiting == ("before-it",)
    assert (await shard.waiting())["s"] == 2


async def test_a_recovered_session_can_be_claimed_and_counts_the_loss(shard, recover, own):
    await own("w1", "s")
    await shard.kill("w1")
    await recover()

    claim = await shard.claim("w2")

    assert (claim.epoch, claim.losses, claim.previous_owner) == (2, 1, "w1")
    assert await recover(patience_ms=0) == Recovered(0, ())


async def test_the_sessions_of_a_leaving_worker_are_named(shard, recover, own):
    await own("w1", "s")
    await shard.scripts.leave("w1")

    assert await recover() == Recovered(1, ("s",))


async def test_after_the_clock_was_set_back_a_silent_workers_lease_ends_all_the_same(shard, recover, own):
    await own("w1", "s")
    await shard.beat("w1", lease_ms=50_000)
    await step_clock(shard.redis, shard.keys, -HOUR_MS)
    assert await shard.redis.pttl(shard.keys.worker("w1")) > 50_000

    assert (await recover()).dead == 0  # it may live
    assert 0 < await shard.redis.pttl(shard.keys.worker("w1")) <= 50_000
    assert await shard.redis.zscore(shard.keys.workers, "w1") <= (await shard.beat("w2")).now_ms


async def test_after_the_clock_was_set_back_a_worker_that_beats_has_its_lease(shard, recover, own):
    await own("w1", "s")
    await step_clock(shard.redis, shard.keys, -HOUR_MS)
    await shard.beat("w1")
    before = await shard.redis.pttl(shard.keys.worker("w1"))
    await recover()

    assert before - 10_000 < await shard.redis.pttl(shard.keys.worker("w1")) <= before


async def test_after_the_clock_was_set_back_waiting_sessions_are_named(shard, recover):
    await shard.submit("a")
    await step_clock(shard.redis, shard.keys, -HOUR_MS)

    assert (await recover(patience_ms=500)).waiting == ("s",)


async def test_a_session_waits_since_the_first_time_however_often_it_is_named(shard, recover):
    await shard.submit("a")
    since = await shard.waiting()

    named = [(await recover(patience_ms=0)).waiting for _ in range(3)]

    assert named == [("s",)] * 3
    assert await shard.waiting() == since


@pytest.mark.parametrize("end", ["claim", "confirm", "close", "purge"])
async def test_a_session_that_waits_no_more_is_not_among_the_named(shard, recover, end):
    claim = await shard.save("a")
    await shard.redis.zadd(shard.keys.waiting, {"s": 1})
    await recover()
    assert await shard.redis.zcard(shard.keys.named) == 1

    match end:
        case "claim":
            await shard.kill("w1")
            await shard.claim("w2")
        case "confirm":
            await shard.scripts.confirm(claim)
        case "close":
            await shard.scripts.release(claim, "w1")
            await shard.scripts.close("s")
        case "purge":
            await shard.redis.hset(shard.keys.session("s"), "state", "closed")
            await shard.scripts.purge("s")

    assert await shard.redis.exists(shard.keys.waiting, shard.keys.named) == 0


async def test_a_session_that_begins_to_wait_late_is_named_though_many_were_named_before(shard, recover):
    await shard.redis.zadd(shard.keys.waiting, {f"s{n:03}": 1000 + n for n in range(300)})
    while (await recover()).waiting:
        pass
    await shard.redis.zadd(shard.keys.waiting, {"late": 5000, "early": 1})

    assert sorted((await recover(page=2)).waiting) == ["early", "late"]
