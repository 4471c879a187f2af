"""Wall clocks that are an hour off: nothing is late by it, and nothing changes its order or its owner."""

import time

import pytest
from tests.redis_clock import HOUR_MS, step_clock

from skep_shared.activation import enqueue_activation, jobs_due

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
    """Give a function that runs a worker whose wall clock is so many seconds off."""

    async def run(offset):
        flags = ["--redis", shard.settings.redis_url, "--prefix", shard.settings.prefix, "--lease-seconds", "1"]
        worker = await run_logged("-c", WORKER.format(offset=offset, flags=flags))
        await worker.says("worker.ready")
        return worker

    return run


@pytest.fixture(params=[HOUR, -HOUR], ids=["ahead", "behind"])
def offset(request):
    return request.param


async def test_an_activation_is_due_at_once_whatever_the_clock_of_whoever_asks(shard, monkeypatch, offset):
    real = time.time
    monkeypatch.setattr("arq.utils.time", lambda: real() + offset)
    await enqueue_activation(shard._link.arq, shard._link.keys, "s")

    assert await jobs_due(shard._link.arq, shard._link.keys, real() * 1000) == 1


async def test_a_worker_whose_clock_is_off_runs_cells_and_takes_over(shard, run_off, start_worker, gate, offset):
    worker = await run_off(offset)
    session = shard.session("s")
    first = [await session.submit("order = []"), *(await session.submit_many(["order.append(1)", "order.append(2)"]))]
    assert [(await cell.outcome(20)).ok for cell in first] == [True] * 3
    running = await session.submit(f"{gate.wait}\norder")
    await worker.kill()
    await run_off(-offset)  # as far from that one's as can be
    gate.open(2)

    outcome = await running.outcome(20)
    assert (outcome.value, (await session.info()).epoch) == ([1, 2], 2)


@pytest.mark.parametrize("by_ms", [HOUR_MS, -HOUR_MS], ids=["ahead", "back"])
async def test_a_dead_workers_cells_go_on_though_redis_clock_is_set_to_another_hour(
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
async def test_a_session_lives_on_though_redis_clock_is_set_to_another_hour(shard, redis, start_worker, by_ms):
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
    """Give when each worker was last heard of, by Redis' clock, in ms."""
    return dict(await shard._link.redis.zrange(shard._link.keys.workers, 0, -1, withscores=True))


async def test_a_lease_does_not_depend_on_the_clocks(shard, run_off, start_worker, eventually, offset):
    off = await run_off(offset)
    await start_worker()
    session = shard.session("s")
    values = [(await session.run("import os; os.getpid()")).value for _ in range(2)]
    begun = await beats(shard)

    async def leases_have_passed():
        now = await beats(shard)
        return all(now[worker] >= since + 2500 for worker, since in begun.items())

    await eventually(leases_have_passed)
    values.append((await session.run("os.getpid()")).value)

    assert (len(begun), len(set(values))) == (2, 1)
    assert (await session.info()).epoch == 1
    assert not [line for line in off.lines if "lease.lapsed" in line][1:]  # the first beat finds no marker
