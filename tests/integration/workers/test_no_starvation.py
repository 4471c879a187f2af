"""Many sessions that wait for a worker delay no other session, although arq looks at only 100 queued jobs at a time."""

import asyncio

import pytest

import skep

pytestmark = pytest.mark.anyio

RESIDENT = 500
MANY = 130


@pytest.mark.timeout(200)  # five hundred processes start and end
async def test_a_session_starts_on_an_idle_worker_while_another_one_is_full(shard, start_worker, gate):
    full = await start_worker("--max-resident", str(RESIDENT))
    cells = [await shard.session(f"busy-{number}").submit(gate.wait) for number in range(RESIDENT)]
    while [worker.resident async for worker in shard.workers()] != [RESIDENT]:  # noqa: ASYNC110 - reported with each heartbeat
        await asyncio.sleep(0.1)
    more = [await shard.session(f"more-{number}").submit("1") for number in range(MANY)]
    idle = await start_worker("--max-resident", "4")
    session = shard.session("new")

    assert (await session.run("6 * 7", wait=60)).value == 42
    assert [(await cell.outcome(60)).value for cell in more] == [1] * MANY  # four at a time, each while its cell runs
    owners = {(await shard.session(name).info()).owner for name in ("new", "more-0", "more-1")}
    assert owners <= {idle.worker_id, None}
    assert (await shard.session("busy-0").info()).owner == full.worker_id
    gate.open(RESIDENT)
    assert all([(await cell.outcome(60)).ok for cell in cells])


async def test_sessions_without_a_suitable_worker_delay_no_others(shard, start_worker):
    options = skep.SessionOptions(requires={"gpu": "yes"})
    for number in range(3 * MANY):
        await shard.session(f"waiting-{number}", options=options).submit("1")
    await start_worker()

    async with asyncio.timeout(30):
        outcomes = await asyncio.gather(*(shard.session(f"s-{number}").run("1", wait=30) for number in range(10)))
    assert all(outcome.ok for outcome in outcomes)
