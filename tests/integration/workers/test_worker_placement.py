"""Placement of sessions: on a worker that meets the requirements, preferably the one that had the session last."""

import asyncio
from collections import Counter

import pytest

import skep

pytestmark = pytest.mark.anyio


async def owner(session):
    return (await session.info()).owner


async def test_sessions_go_to_workers_with_the_labels_they_require(shard, start_worker):
    await start_worker()
    gpu = await start_worker("--worker-labels", "gpu=a100", "--worker-labels", "zone=b")
    await start_worker("--worker-labels", "gpu=t4")

    for number in range(12):
        session = shard.session(f"s-{number}", options=skep.SessionOptions(requires={"gpu": "a100", "zone": "b"}))
        assert (await session.run("42")).value == 42
        assert await owner(session) == gpu.worker_id


async def test_a_session_waits_until_a_suitable_worker_starts(shard, start_worker):
    await start_worker()
    session = shard.session("s", options=skep.SessionOptions(requires={"gpu": "yes"}))
    cell = await session.submit("42")
    other = shard.session("other")
    assert (await other.run("1")).ok
    assert (await session.info()).owner is None

    gpu = await start_worker("--worker-labels", "gpu=yes")
    assert (await cell.outcome()).value == 42
    assert await owner(session) == gpu.worker_id


async def test_a_session_returns_to_its_last_worker(shard, start_worker):
    for _ in range(3):
        await start_worker()
    sessions = [shard.session(f"s-{number}") for number in range(12)]
    before = []
    for session in sessions:
        await session.run("x = 1")
        before.append(await owner(session))
        await session.hibernate()

    for session in sessions:
        assert (await session.run("x")).value == 1
    assert [await owner(session) for session in sessions] == before


async def test_a_session_whose_last_worker_is_gone_is_placed_elsewhere_at_once(shard, start_worker):
    first = await start_worker()
    session = shard.session("s")
    await session.run("x = 1")
    second = await start_worker()
    await first.stop()

    assert (await session.run("x")).value == 1
    assert await owner(session) == second.worker_id


async def test_a_full_worker_with_idle_sessions_makes_room_for_one_that_requires_it(shard, start_worker):
    await start_worker()
    small = await start_worker("--worker-labels", "gpu=yes", "--max-resident", "1")
    options = skep.SessionOptions(requires={"gpu": "yes"})
    for number in range(4):
        session = shard.session(f"s-{number}", options=options)
        assert (await session.run("42")).value == 42
        assert await owner(session) == small.worker_id


async def test_new_sessions_spread_over_the_workers(shard, start_worker):
    """The quicker worker picks an activation, and passes it on to a worker with clearly fewer sessions."""
    first = await start_worker()
    held = [shard.session(f"held-{number}") for number in range(12)]
    await asyncio.gather(*(session.run("1") for session in held))
    second = await start_worker()
    new = [shard.session(f"new-{number}") for number in range(24)]
    await asyncio.gather(*(session.run("1") for session in new))

    owners = Counter([(await session.info()).owner for session in [*held, *new]])
    assert set(owners) == {first.worker_id, second.worker_id}
    assert abs(owners[first.worker_id] - owners[second.worker_id]) <= 8
