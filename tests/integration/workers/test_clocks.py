"""Wall clocks that are an hour off: they delay nothing, and change neither order nor owner."""

import time

import pytest
from tests.redis_clock import HOUR_MS, step_clock

from skep_shared.broker.activation import jobs_due

from ..session_processes import OWN_NAME

pytestmark = pytest.mark.anyio

HOUR = 3600.0

WORKER = """
import sys, time
real = time.time
time.time = lambda: real() + {offset}
from skep_workers.__main__ import main
sys.argv = ["skep worker", *{flags!r}]
sys.exit(main())
"""


@pytest.fixture
async def run_off(shard, run_logged):
    """Return a function that runs a worker whose wall clock is off by this many seconds."""

    async def run(offset):
        flags = ["--redis", shard.settings.redis_url, "--prefix", shard.settings.prefix, "--lease-seconds", "1"]
        worker = await run_logged("-c", WORKER.format(offset=offset, flags=flags))
        await worker.says("worker.ready")
        return worker

    return run


@pytest.fixture(params=[HOUR, -HOUR], ids=["ahead", "behind"])
def offset(request):
    return request.param


async def test_an_activation_is_due_at_once_whatever_the_clock_of_the_worker(shard, offset):
    await shard.session("s").submit("1")

    assert await jobs_due(shard._link.redis, shard._link.keys, (time.time() + offset) * 1000) == 1


async def test_a_worker_whose_clock_is_off_runs_cells_and_takes_over(shard, run_off, start_worker, gate, offset):
    worker = await run_off(offset)
    session = shard.session("s")
    first = [await session.submit("order = []"), *(await session.submit_many(["order.append(1)", "order.append(2)"]))]
    assert [(await cell.outcome(20)).ok for cell in first] == [True] * 3
    running = await session.submit(f"{gate.wait}\norder")
    await worker.kill()
    await run_off(-offset)  # as far from the other worker's clock as possible
    gate.open(2)

    outcome = await running.outcome(20)
    assert (outcome.value, (await session.info()).epoch) == ([1, 2], 2)


@pytest.mark.parametrize("by_ms", [HOUR_MS, -HOUR_MS], ids=["ahead", "back"])
async def test_a_dead_workers_cells_continue_after_the_clock_of_redis_was_changed(
    shard, redis, start_worker, gate, by_ms
):
    worker = await start_worker()
    session = shard.session("s")
    assert (await session.run("order = [1]", wait=20)).ok
    running = [await session.submit(f"{gate.wait}\norder.append(2)"), await session.submit("order")]
    assert (await session.info()).owner == worker.worker_id
    await start_worker()
    await worker.kill()
    await step_clock(redis, shard._link.keys, by_ms)
    gate.open(2)

    assert [(await cell.outcome(20)).value for cell in running] == [None, [1, 2]]
    assert (await shard.session("new").run("6 * 7", wait=20)).value == 42


@pytest.mark.parametrize("by_ms", [HOUR_MS, -HOUR_MS], ids=["ahead", "back"])
async def test_a_session_keeps_its_owner_when_the_clock_of_redis_is_changed(shard, redis, start_worker, by_ms):
    await start_worker()
    session = shard.session("s")
    assert (await session.run("order = [1]", wait=20)).ok
    await step_clock(redis, shard._link.keys, by_ms)

    assert [(await session.run("order.append(len(order) + 1)\norder", wait=20)).value for _ in range(2)] == [
        [1, 2],
        [1, 2, 3],
    ]
    assert (await session.info()).epoch == 1


async def beats(shard):
    """Return the time of each worker's last heartbeat, by Redis's clock, in ms."""
    return dict(await shard._link.redis.zrange(shard._link.keys.workers, 0, -1, withscores=True))


async def test_a_lease_does_not_depend_on_the_clocks(shard, run_off, start_worker, eventually, offset):
    off = await run_off(offset)
    await start_worker()
    session = shard.session("s")
    values = [(await session.run(OWN_NAME)).value for _ in range(2)]
    begun = await beats(shard)

    async def leases_have_passed():
        now = await beats(shard)
        return all(now[worker] >= since + 2500 for worker, since in begun.items())

    await eventually(leases_have_passed)
    values.append((await session.run(OWN_NAME)).value)

    assert (len(begun), len(set(values))) == (2, 1)
    assert (await session.info()).epoch == 1
    assert not [line for line in off.lines if "lease.lapsed" in line][1:]  # the first heartbeat finds no marker
