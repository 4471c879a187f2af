"""heartbeat.lua and leave.lua: how a worker comes, stays and goes."""

import pytest
from tests.redis_clock import step_clock

from .conftest import LEASE_MS

pytestmark = pytest.mark.anyio


async def test_the_first_heartbeat_makes_a_worker_alive(shard):
    beat = await shard.beat("w1", facts=b"facts")

    assert not beat.was_alive
    marker = await shard.redis.hgetall(shard.keys.worker("w1"))
    assert marker == {b"facts": b"facts", b"at": str(beat.now_ms).encode(), b"lease": b"%d" % LEASE_MS}
    assert await shard.redis.zscore(shard.keys.workers, "w1") == beat.now_ms


async def test_a_worker_lives_one_lease(shard):
    await shard.beat("w1", lease_ms=60_000)

    assert 0 < await shard.redis.pttl(shard.keys.worker("w1")) <= 60_000


async def test_a_further_heartbeat_finds_the_worker_alive_and_prolongs_its_lease(shard):
    await shard.beat("w1", lease_ms=60_000)

    assert (await shard.beat("w1", lease_ms=600_000)).was_alive
    assert await shard.redis.pttl(shard.keys.worker("w1")) > 60_000


async def test_a_heartbeat_brings_new_facts(shard):
    await shard.beat("w1", facts=b"old")
    await shard.beat("w1", facts=b"new")

    assert await shard.redis.hget(shard.keys.worker("w1"), "facts") == b"new"


async def test_a_heartbeat_after_the_lease_reports_its_end(shard):
    await shard.join("w1")
    await shard.kill("w1")

    assert not (await shard.beat("w1")).was_alive


async def test_workers_live_apart(shard):
    await shard.join("w1")

    assert not (await shard.beat("w2")).was_alive
    assert await shard.redis.zcard(shard.keys.workers) == 2


async def test_time_is_redis_time(shard):
    seconds, microseconds = await shard.redis.time()
    beat = await shard.beat("w1")
    later_seconds, later_microseconds = await shard.redis.time()

    before, after = seconds * 1000 + microseconds // 1000, later_seconds * 1000 + later_microseconds // 1000
    assert before <= beat.now_ms <= after


async def test_without_silent_workers_and_waiting_sessions_none_is_overdue(shard):
    await shard.submit("a")
    await shard.join("w1")

    assert (await shard.beat("w2")).neglected == 0


async def test_a_heartbeat_counts_the_workers_that_fell_silent(shard):
    for worker in ("w1", "w2", "w3"):
        await shard.join(worker)
    await shard.kill("w1")
    await shard.kill("w2")

    assert (await shard.beat("w3")).neglected == 2


async def test_a_worker_does_not_count_itself_as_silent(shard):
    await shard.join("w1")
    await shard.kill("w1")

    assert (await shard.beat("w1")).neglected == 0


async def test_a_heartbeat_counts_the_sessions_that_wait_too_long(shard):
    await shard.redis.zadd(shard.keys.waiting, {"s1": 1, "s2": 2})

    assert (await shard.beat("w1")).neglected == 2


async def test_a_session_that_has_just_begun_to_wait_counts_by_the_patience(shard):
    await shard.submit("a")

    assert (await shard.beat("w1", patience_ms=600_000)).neglected == 0
    assert (await shard.beat("w1", patience_ms=0)).neglected == 1


async def test_a_heartbeat_returns_when_the_next_worker_may_be_silent(shard):
    await shard.beat("w1", lease_ms=60_000)
    beat = await shard.beat("w2", lease_ms=60_000)
    last = await shard.redis.zscore(shard.keys.workers, "w1")

    assert beat.next_ms == last + 60_000 - beat.now_ms + 1


async def test_a_heartbeat_returns_when_the_next_session_will_be_overdue(shard):
    await shard.submit("a")
    beat = await shard.beat("w1", lease_ms=600_000, patience_ms=60_000)
    [since] = (await shard.waiting()).values()

    assert beat.next_ms == since + 60_000 - beat.now_ms + 1


async def test_an_already_silent_worker_does_not_shorten_the_next_heartbeat(shard):
    await shard.redis.zadd(shard.keys.waiting, {"s": 1})
    await shard.redis.zadd(shard.keys.workers, {"w1": 1})

    assert (await shard.beat("w2", lease_ms=60_000)).next_ms == 60_001


async def test_a_heartbeat_counts_times_in_the_future_of_a_clock_that_was_set_back(shard):
    await shard.submit("a")
    await shard.join("w2")
    await step_clock(shard.redis, shard.keys, -3_600_000)

    assert (await shard.beat("w1")).neglected == 2


async def test_after_recovery_no_session_is_overdue(shard):
    await shard.submit("a")
    await shard.claim("w1")
    await shard.kill("w1")
    await shard.scripts.recover(silence_ms=0, page=10, patience_ms=600_000)

    assert (await shard.beat("w2")).neglected == 0


async def test_a_worker_that_leaves_leaves_nothing(shard):
    await shard.submit("a")
    claim = await shard.claim("w1")
    await shard.submit("b")
    await shard.scripts.release(claim, "w1")

    assert await shard.scripts.leave("w1") == 0
    assert [key for key in await shard.dump() if "worker" in key] == []


async def test_a_worker_that_leaves_with_sessions_remains_in_the_index_without_its_marker(shard):
    await shard.submit("a", sid="s1")
    await shard.submit("a", sid="s2")
    await shard.claim("w1", sid="s1")
    await shard.claim("w1", sid="s2")

    assert await shard.scripts.leave("w1") == 2
    assert await shard.redis.exists(shard.keys.worker("w1")) == 0
    assert await shard.redis.zscore(shard.keys.workers, "w1") is not None
    assert await shard.owned("w1") == {"s1", "s2"}


async def test_leaving_again_changes_nothing(shard):
    await shard.join("w1")
    await shard.scripts.leave("w1")
    before = await shard.dump()

    assert await shard.scripts.leave("w1") == 0
    assert await shard.dump() == before


async def test_leaving_does_not_touch_other_workers(shard):
    await shard.join("w2")
    before = await shard.dump()
    await shard.join("w1")

    await shard.scripts.leave("w1")

    assert await shard.dump() == before


async def test_a_session_that_was_named_a_moment_ago_is_not_overdue_yet(shard):
    await shard.submit("a")
    assert (await shard.beat(patience_ms=0)).neglected == 1
    await shard.scripts.recover(silence_ms=LEASE_MS, page=100, patience_ms=0)

    beat = await shard.beat(patience_ms=1_000)
    assert (beat.neglected, 0 < beat.next_ms <= 1_001) == (0, True)
    for key in (shard.keys.waiting, shard.keys.named):
        await shard.redis.zadd(key, {"s": 1})
    assert (await shard.beat(patience_ms=1_000)).neglected == 1
