"""A client's life: connecting, leaving at any moment, coming back."""

import asyncio

import pytest

import skep

pytestmark = pytest.mark.anyio


async def test_leaving_at_any_moment_of_the_first_wait_ends(shard):
    # The reader of outcomes is being connected meanwhile; asyncio.wait_for, which redis-py sends with, drops a
    # cancellation that comes as the send ends (python/cpython#86296, mended in 3.12).
    for _ in range(50):
        async with skep.connect(settings=shard.settings) as client:
            with pytest.raises(skep.NotFound):
                await client.cell("nobody", "nothing").interrupt()


async def test_leaving_ends_waits_with_cancellation(shard):
    async with skep.connect(settings=shard.settings) as client:
        cell = await client.session("s").submit("1")
        waiting = asyncio.create_task(cell.outcome())
        await shard.session("s").info()  # a round trip, so that the wait has begun

    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_leaving_cancels_no_cell(cluster, session, gate):
    async with skep.connect(cluster.redis_url) as client:
        await client.session(session.id).submit(f"{gate.wait}\n7", cell_id="kept")
    gate.open()

    assert (await session.cell("kept").outcome()).value == 7


async def test_leaving_leaves_no_reply_stream(shard):
    async with skep.connect(settings=shard.settings) as client:
        await client.session("s").submit("1")
        key = client._link.keys.replies(client._replies.client_id)

    assert not await shard._link.redis.exists(key)


async def test_a_cell_that_was_never_submitted_is_not_found(shard):
    cell = shard.cell("nobody", "nothing")

    with pytest.raises(skep.NotFound) as caught:
        await cell.outcome()
    assert (caught.value.what, caught.value.name) == ("cell", "nothing")
    with pytest.raises(skep.NotFound):
        [event async for event in cell.events()]


async def test_a_client_that_was_cancelled_in_a_wait_can_wait_again(session, gate):
    cell = await session.submit(f"{gate.wait}\n7")
    waits = [asyncio.create_task(cell.outcome()) for _ in range(3)]
    await session.info()
    for wait in waits:
        wait.cancel()
    await asyncio.wait(waits)
    gate.open()

    assert (await cell.outcome()).value == 7


async def test_many_waits_for_one_cell_get_one_outcome(cluster, session, gate):
    cell = await session.submit(f"{gate.wait}\n7")
    waits = [
        asyncio.create_task(each.outcome()) for each in (cell, session.cell(cell.id), cluster.cell(session.id, cell.id))
    ]
    await session.info()
    gate.open()

    assert len({(await wait).run_ms for wait in waits}) == 1
