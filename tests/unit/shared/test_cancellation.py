"""A cancellation that gets lost is repeated."""

import asyncio
import contextlib

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from skep_shared.broker.redis_client.cancellation import cancel_until_ended, was_cancelled

pytestmark = pytest.mark.anyio


class Loser:
    """Retries after errors of Redis forever; the driver replaces its first cancellations by an error."""

    def __init__(self, lost):
        self.left = lost
        self.told = []

    async def run(self):
        while True:
            with contextlib.suppress(RedisTimeoutError):
                await self._call()
            self.told.append(was_cancelled())

    async def _call(self):
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            if self.left:
                self.left -= 1
                raise RedisTimeoutError


async def begun(work):
    """Return the task of this work, waiting."""
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    return task


async def test_a_task_ends_although_its_first_cancellations_are_lost(monkeypatch):
    monkeypatch.setattr("skep_shared.broker.redis_client.cancellation.AGAIN_SECONDS", 0.0)
    losers = [Loser(0), Loser(2)]
    tasks = [await begun(loser.run()) for loser in losers]
    await cancel_until_ended(tasks)

    assert [task.cancelled() for task in tasks] == [True, True]
    assert [loser.told for loser in losers] == [[], [True, True]]


async def test_a_task_that_fails_while_it_is_cancelled_raises_nothing():
    async def fail():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            raise ZeroDivisionError

    task = await begun(fail())
    await cancel_until_ended([task])

    assert isinstance(task.exception(), ZeroDivisionError)


async def test_a_task_that_was_not_cancelled_is_recognized():
    assert not was_cancelled()
