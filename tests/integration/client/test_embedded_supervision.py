"""The workers of an embedded cluster: one that dies is replaced, and no call waits forever."""

import asyncio
import os
import signal

import pytest

import skep

pytestmark = pytest.mark.anyio


async def test_a_worker_that_dies_by_itself_is_replaced_and_its_sessions_go_on(caplog):
    async with skep.embedded(worker_flags=("--lease-seconds", "1")) as cluster:
        session = cluster.session("s")
        await session.run("x = 42")
        [process] = cluster.worker_processes
        first = process.worker_id
        os.kill(process.pid, signal.SIGKILL)

        assert (await session.run("x")).value == 42
        assert process.worker_id != first
    [record] = caplog.records
    assert f"worker {first} ended: killed by SIGKILL" in record.getMessage()
    assert "session.started" in record.getMessage()


async def test_a_worker_that_its_owner_has_ended_is_not_replaced(caplog):
    async with skep.embedded(workers=2) as cluster:
        supervisions = [task for task in asyncio.all_tasks() if task.get_name().startswith("supervision of worker")]
        killed, stopped = cluster.worker_processes
        await killed.kill()
        await stopped.stop()

        assert len(supervisions) == 2
        await asyncio.gather(*supervisions)
        assert [process.pid for process in cluster.worker_processes] == [0, 0]
    assert caplog.records == []


async def test_when_workers_keep_dying_every_call_ends_with_their_last_words(eventually):
    async with skep.embedded() as cluster:
        session = cluster.session("s")
        [process] = cluster.worker_processes
        cell = await session.submit("import time; time.sleep(60)", max_attempts=10)
        waiting = [asyncio.create_task(cell.outcome()), asyncio.create_task(read_to_the_end(session))]
        seen = set()

        async def is_another():
            return process.pid and process.worker_id not in seen

        for _ in range(3):
            await eventually(is_another)
            seen.add(process.worker_id)
            os.kill(process.pid, signal.SIGKILL)

        for call in (
            *waiting,
            session.run("1"),
            cluster.session("other").run("1"),
            session.info(),
            session.variables(),
        ):
            with pytest.raises(skep.StartError, match=r"3 times within 30 s, .*killed by SIGKILL.*last log lines"):
                await call


async def read_to_the_end(session):
    async for _ in session.events(follow=True):
        pass
