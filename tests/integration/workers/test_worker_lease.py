"""A worker whose lease expired while it was away: it is fenced if another one took over, otherwise it continues."""

import asyncio
import os
import signal

import pytest

import skep

from ..session_processes import OWN_NAME, pid_named, pid_of

pytestmark = pytest.mark.anyio


async def lapse(shard, worker):
    """Expire the worker's lease now, as Redis would."""
    await shard._link.redis.delete(shard._link.keys.worker(worker.worker_id))


async def is_alive(shard, worker):
    """Return whether the worker has sent a heartbeat since."""
    return worker.worker_id in {info.id async for info in shard.workers()}


async def test_a_worker_that_wakes_too_late_is_fenced(shard, start_worker, gate, first_output, process_end):
    first = await start_worker()
    session = shard.session("s")
    running = await session.submit(f"print({OWN_NAME})\n{gate.wait}\n{OWN_NAME}")
    old = (await first_output(running)).strip()
    old_pid = pid_named(old)
    os.kill(first.pid, signal.SIGSTOP)
    second = await start_worker()
    gate.open(2)  # both attempts end; only one of them can commit

    outcome = await running.outcome()
    os.kill(first.pid, signal.SIGCONT)
    await process_end(old_pid)

    assert (outcome.attempt, outcome.value != old) == (2, True)
    assert (await session.info()).owner == second.worker_id
    events = [event async for event in session.events()]
    assert [event.id for event in events] == [f"{number}-0" for number in range(1, len(events) + 1)]
    assert [event.kind for event in events].count("cell.finished") == 1
    assert [event.epoch for event in events] == sorted(event.epoch for event in events)


async def test_a_fenced_worker_continues_with_its_other_sessions(shard, start_worker, process_end):
    first = await start_worker()
    pid = await pid_of(shard.session("s"))
    os.kill(first.pid, signal.SIGSTOP)
    second = await start_worker()
    assert (await shard.session("s").run("1")).ok  # taken over
    os.kill(first.pid, signal.SIGCONT)
    await process_end(pid)
    await second.stop()

    assert (await shard.session("other").run("1")).ok


async def test_an_expired_lease_without_a_takeover_changes_nothing(shard, start_worker):
    worker = await start_worker()
    session = shard.session("s")
    process = (await session.run(OWN_NAME)).value
    await lapse(shard, worker)

    assert (await session.run(OWN_NAME)).value == process
    assert (await session.info()).epoch == 1


async def test_a_cell_submitted_while_the_lease_was_expired_runs(shard, start_worker):
    worker = await start_worker()
    session = shard.session("s")
    await session.run("kept = 1")
    await lapse(shard, worker)
    cells = await session.submit_many(["kept"] * 5)

    assert [(await cell.outcome()).value for cell in cells] == [1] * 5


async def test_a_session_that_kept_its_owner_through_an_expired_lease_is_no_longer_waiting(
    shard, start_worker, eventually
):
    worker = await start_worker()
    session = shard.session("s")
    await session.run("1")
    await lapse(shard, worker)
    await session.run("2")

    async def nobody_waits():
        return await is_alive(shard, worker) and not await shard._link.redis.zcard(shard._link.keys.waiting)

    async with asyncio.timeout(10):  # a session that remains in this set is activated every two seconds, forever
        await eventually(nobody_waits)


async def test_a_submit_wakes_a_worker_for_a_session_that_lost_its_owner(shard, start_worker):
    await (await start_worker()).kill()
    cell = await shard.session("s").submit("1")
    await start_worker()

    assert (await cell.outcome()).status is skep.CellStatus.FINISHED
