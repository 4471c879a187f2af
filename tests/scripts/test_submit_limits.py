"""The limits of a session that submit.lua enforces, whichever client submits."""

import pytest

from skep_shared.broker.script_replies import SubmitStatus
from skep_shared.isolation.session_limits import Limits
from skep_shared.models import SessionOptions

pytestmark = pytest.mark.anyio


async def rate_of(shard):
    """Read how many more cells the session may get, and when that was (ms)."""
    left, at = (await shard.redis.hget(shard.keys.session("s"), "rate")).decode().split(":")
    return float(left), int(at)


@pytest.fixture
def submit(shard):
    """Return a function that submits cells to a session; the first call sets its limits."""

    async def submit(*cell_ids, limits=None, sid="s"):
        options = SessionOptions(limits=limits or Limits()).pack()
        return await shard.scripts.submit(sid, [(name, b"x") for name in cell_ids], max_pending=100, options=options)

    return submit


async def test_a_client_that_knows_no_limits_is_bound_by_those_of_the_session(shard, submit):
    await submit("a", "b", limits=Limits(pending_cells=2))
    before = await shard.dump()

    answer = await submit("c")

    assert (answer.status, answer.pending, answer.limit) == (SubmitStatus.FULL, 2, 2)
    assert await shard.dump() == before


async def test_the_limit_of_the_client_holds_too(submit):
    await submit("a", limits=Limits(pending_cells=1000))

    answer = await submit(*(f"c{number}" for number in range(100)))

    assert (answer.status, answer.pending, answer.limit) == (SubmitStatus.FULL, 1, 100)


async def test_a_new_session_beyond_its_own_limit_is_not_created(shard, submit):
    answer = await submit("a", "b", limits=Limits(pending_cells=1))

    assert answer.status is SubmitStatus.FULL
    assert await shard.dump() == {}


async def test_cells_beyond_the_rate_are_refused_whole(shard, submit):
    await submit("a", "b", limits=Limits(cells_per_minute=3))
    before = await shard.dump()

    answer = await submit("c", "d")

    assert (answer.status, answer.limit, answer.new) == (SubmitStatus.FAST, 3, 2)
    assert 0 < answer.wait_ms <= 20_000
    assert await shard.dump() == before
    assert (await submit("c")).status is SubmitStatus.OK


async def test_a_batch_that_is_larger_than_a_minute_is_refused_for_ever(submit):
    answer = await submit("a", "b", "c", limits=Limits(cells_per_minute=2))

    assert (answer.status, answer.wait_ms) == (SubmitStatus.FAST, 0)


async def test_room_for_cells_grows_evenly(shard, submit):
    await submit("a", "b", limits=Limits(cells_per_minute=2))
    left, at = await rate_of(shard)
    assert left == 0
    await shard.redis.hset(shard.keys.session("s"), "rate", f"0:{at - 30_001}")

    assert (await submit("c")).status is SubmitStatus.OK
    assert (await submit("d")).status is SubmitStatus.FAST


async def test_room_for_cells_does_not_exceed_a_minute(shard, submit):
    await submit("a", limits=Limits(cells_per_minute=2))
    await shard.redis.hset(shard.keys.session("s"), "rate", "2:1000")

    assert (await submit("b", "c", "d")).status is SubmitStatus.FAST
    assert (await submit("b", "c")).status is SubmitStatus.OK


async def test_a_clock_that_went_back_takes_no_room(shard, submit):
    await submit("a", limits=Limits(cells_per_minute=2))
    _, at = await rate_of(shard)
    await shard.redis.hset(shard.keys.session("s"), "rate", f"1:{at + 60_000}")

    assert (await submit("b")).status is SubmitStatus.OK


async def test_known_cells_take_no_room(submit):
    await submit("a", "b", limits=Limits(cells_per_minute=2))

    assert (await submit("a", "b")).status is SubmitStatus.OK


async def test_a_session_without_limits_has_no_rate(shard, submit):
    await submit("a")

    assert not await shard.redis.hexists(shard.keys.session("s"), "rate")


async def test_options_that_only_mention_limits_limit_nothing(shard):
    options = SessionOptions(labels={"limits": "none"}).pack()

    answer = await shard.scripts.submit("s", [("a", b"x")], max_pending=100, options=options)

    assert answer.status is SubmitStatus.OK
