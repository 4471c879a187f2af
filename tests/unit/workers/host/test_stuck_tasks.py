"""What a task waits for, as it is logged when a drain hangs."""

import asyncio
import contextlib

import pytest

from skep_workers.host.residency.stuck_tasks import all_awaited, awaited

pytestmark = pytest.mark.anyio


async def outer(event):
    await inner(event)


async def inner(event):
    await event.wait()


@pytest.fixture
async def waiting():
    """A task that waits for an event."""
    task = asyncio.create_task(outer(asyncio.Event()), name="a task")
    await asyncio.sleep(0)
    yield task
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_the_coroutines_that_a_task_awaits_are_named_outermost_first(waiting):
    assert awaited(waiting) == "outer > inner > Event.wait > FutureIter"


async def test_tasks_that_have_ended_are_omitted(waiting):
    ended = asyncio.create_task(asyncio.sleep(0), name="ended")
    await ended

    assert list(all_awaited([ended, waiting])) == ["a task"]
