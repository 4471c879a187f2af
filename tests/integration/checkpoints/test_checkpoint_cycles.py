"""A session's process ends ten times in a row, in each possible way: the state is the same each time."""

import asyncio
import contextlib

import pytest
from tests.integration.cells.random_cells import cells

import skep

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]  # ten cycles take 5 s of processor time

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
CYCLES = 10


async def crash(session, _shard, _worker):
    assert (await session.run(KILL)).status is skep.CellStatus.CRASHED
    return session


async def hibernate(session, _shard, _worker):
    await session.hibernate()
    return session


async def rollback(session, _shard, _worker):
    [*_, last] = [checkpoint.id async for checkpoint in session.checkpoints() if checkpoint.is_head]
    await session.run("globals().clear()")
    await session.run("lost = True; import os; [os.remove(name) for name in os.listdir() if os.path.isfile(name)];")
    await session.rollback(last)
    return session


async def fork(session, _shard, _worker):
    generation = int(session.id.rpartition("-")[2]) + 1
    return await session.fork(f"s-{generation}")


async def evict(session, shard, _worker):
    other = shard.session("other")
    *_, last = [event.id async for event in session.events()]
    await other.run("1")  # the worker has room for one session, so the first one is released meanwhile
    async with asyncio.timeout(30), contextlib.aclosing(session.events(last, follow=True)) as events:
        async for event in events:
            if event.kind == "session.hibernated":
                break
    return session


async def drain(session, _shard, worker):
    await worker.restart()
    return session


class Worker:
    """The one worker of a test, with room for one session."""

    def __init__(self, start):
        self._start = start
        self._process = None

    async def restart(self):
        if self._process is not None:
            await self._process.stop()
        self._process = await self._start("--max-resident", "1")


@pytest.mark.parametrize("cycle", [crash, hibernate, rollback, fork, evict, drain], ids=lambda cycle: cycle.__name__)
async def test_ten_cycles_do_not_change_the_state(shard, start_worker, cycle):
    worker = Worker(start_worker)
    await worker.restart()
    session = shard.session("s-0")
    for code in cells(7, 60):
        await session.submit(code)
    before = (await session.run("_describe()")).value

    for number in range(CYCLES):
        session = await cycle(session, shard, worker)
        outcome = await session.run("_describe()")
        assert outcome.ok, (number, outcome.error.traceback)
        assert outcome.value.splitlines() == before.splitlines(), number
