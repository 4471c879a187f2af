"""The worker's beats, whatever else a beat has given it to do."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from skep_shared.script_replies import Heartbeat
from skep_shared.settings import WorkerSettings
from skep_workers.host.clock import RedisClock
from skep_workers.host.lease import Lease

pytestmark = pytest.mark.anyio


class Facts:
    """What a worker tells with each beat: nothing."""

    def pack(self):
        return b""


class Beats:
    """Scripts that answer beats: somebody is neglected, always."""

    def __init__(self, enough):
        self.left = enough
        self.are_enough = asyncio.Event()

    async def heartbeat(self, *_, **__):
        self.left -= 1
        if self.left == 0:
            self.are_enough.set()
        return Heartbeat(now_ms=0, was_alive=True, neglected=1, next_ms=10)


@pytest.fixture
async def lease():
    """A lease that beats often, and its scripts."""
    beats = Beats(5)
    lease = Lease("w", beats, WorkerSettings.load(lease_seconds=0.5), RedisClock(), Facts)
    return lease, beats


async def nothing():
    """No lapse comes up here."""


async def test_the_beats_go_on_while_sessions_of_others_are_looked_after(lease):
    lease, beats = lease
    has_ended = asyncio.Event()
    calls = []

    async def look():
        calls.append("begun")
        await beats.are_enough.wait()
        calls.append("ended")
        has_ended.set()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(lease.run(nothing)), group.create_task(lease.look(look))]
        await has_ended.wait()
        for task in tasks:
            task.cancel()
    assert calls[:2] == ["begun", "ended"]


async def test_a_look_that_fails_is_followed_by_another_one(lease):
    lease, _ = lease
    calls = []
    done = asyncio.Event()

    async def look():
        calls.append(1)
        if len(calls) == 1:
            raise RedisConnectionError
        done.set()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(lease.run(nothing)), group.create_task(lease.look(look))]
        await done.wait()
        for task in tasks:
            task.cancel()
