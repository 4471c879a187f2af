"""The heartbeats of a worker, and the recovery that they trigger."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from skep_shared.broker.script_replies import Heartbeat
from skep_shared.settings import WorkerSettings
from skep_workers.host.broker.lease import Lease
from skep_workers.host.broker.redis_clock import RedisClock

pytestmark = pytest.mark.anyio


class Facts:
    """Facts of a worker for its heartbeats: none."""

    def pack(self):
        return b""


class Beats:
    """Scripts whose heartbeats always report neglected sessions."""

    def __init__(self, enough):
        self.left = enough
        self.are_enough = asyncio.Event()
        self.was_alive = True

    async def heartbeat(self, *_, **__):
        self.left -= 1
        if self.left == 0:
            self.are_enough.set()
        return Heartbeat(now_ms=0, was_alive=self.was_alive, neglected=1, next_ms=10)


@pytest.fixture
async def lease():
    """A lease with frequent heartbeats, and its scripts."""
    beats = Beats(5)
    lease = Lease(
        "w", beats, WorkerSettings.load(lease_seconds=0.5), RedisClock(), Facts, give_up_connection=lambda: None
    )
    return lease, beats


async def nothing():
    """Not called: the lease never lapses in these tests."""


async def test_heartbeats_continue_during_a_recovery(lease):
    lease, beats = lease
    has_ended = asyncio.Event()
    calls = []

    async def look():
        calls.append("begun")
        await beats.are_enough.wait()
        calls.append("ended")
        has_ended.set()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(lease.run(nothing)), group.create_task(lease.watch_neglect(look))]
        await has_ended.wait()
        for task in tasks:
            task.cancel()
    assert calls[:2] == ["begun", "ended"]


async def test_a_recovery_that_fails_is_tried_again(lease):
    lease, _ = lease
    calls = []
    done = asyncio.Event()

    async def look():
        calls.append(1)
        if len(calls) == 1:
            raise RedisConnectionError
        done.set()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(lease.run(nothing)), group.create_task(lease.watch_neglect(look))]
        await done.wait()
        for task in tasks:
            task.cancel()


async def test_the_check_after_a_gap_is_repeated_until_it_succeeds(lease):
    lease, beats = lease
    beats.was_alive = False
    calls = []
    done = asyncio.Event()

    async def check():
        beats.was_alive = True
        calls.append(1)
        if len(calls) == 1:
            raise RedisConnectionError
        done.set()

    running = asyncio.create_task(lease.run(check))
    async with asyncio.timeout(10):
        await done.wait()
    running.cancel()
    assert len(calls) == 2
