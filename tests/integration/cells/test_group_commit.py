"""Many short cells need few commits, and none of them waits for a long cell."""

import asyncio

import pytest

pytestmark = pytest.mark.anyio


async def commits(cluster):
    """Return the number of scripts that the server has run."""
    stats = await cluster._link.redis.info("commandstats")
    return stats.get("cmdstat_evalsha", {}).get("calls", 0)


async def test_short_cells_that_wait_together_commit_together(cluster, start_worker):
    await start_worker()
    session = cluster.session("s")
    await session.run("n = 0")
    before = await commits(cluster)
    cells = await session.submit_many(["n += 1\nn"] * 400)
    outcomes = [await cell.outcome() for cell in cells]

    assert [outcome.value for outcome in outcomes] == list(range(1, 401))
    assert await commits(cluster) - before < 200


async def test_a_cell_before_a_long_one_does_not_wait_for_its_end(cluster, start_worker):
    await start_worker()
    session = cluster.session("s")
    await session.run("1")
    first, second = await session.submit_many(["'first'", "print(input())"])
    outcome = await first.outcome()
    async for event in second.events():
        if event.kind == "input.requested":
            await session.answer("on")

    assert outcome.value == "first"
    assert (await second.outcome()).text == "on\n"


async def test_an_interrupted_cell_and_those_around_it_commit_in_order(cluster, start_worker):
    await start_worker()
    session = cluster.session("s")
    await session.run("import time")
    cells = await session.submit_many(["1", "time.sleep(60)", "2", "3"])
    await cells[0].outcome()
    await cells[1].interrupt()
    outcomes = await asyncio.gather(*(cell.outcome() for cell in cells))

    assert [outcome.status for outcome in outcomes] == ["finished", "interrupted", "finished", "finished"]
