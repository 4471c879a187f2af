"""Redis returns to an earlier state under its workers: sessions continue from that state, and event ids stay dense."""

import asyncio
import contextlib

import pytest

import skep

pytestmark = pytest.mark.anyio


@pytest.fixture
def redis_server(stoppable_server):
    """A server for one test, in place of the shared one."""
    return stoppable_server


@pytest.fixture
def client_settings():
    """A client that soon retries."""
    return {"command_timeout_seconds": 1, "block_seconds": 0.5}


@pytest.fixture
async def worker(start_worker):
    """A worker that soon notices."""
    return await start_worker("--command-timeout-seconds", "1", "--block-seconds", "0.5")


async def check_log(session):
    """Check that the stored ids are dense and that each cell has one terminal event. Return the cells' ids in order."""
    events = [event async for event in session.events()]
    assert [event.id for event in events] == [f"{number}-0" for number in range(1, len(events) + 1)]
    return [event.cell_id for event in events if event.kind == "cell.finished"]


async def test_pending_cells_run_and_so_do_done_cells_that_are_pending_again(shard, worker, past, gate, first_output):
    session = shard.session("s")
    await session.run("log = ['a']", cell_id="a")
    running = await session.submit(f"print('on'); {gate.wait}; log.append('b'); log", cell_id="b")
    await first_output(running)
    past.keep()
    gate.open()
    assert (await running.outcome()).value == ["a", "b"]
    done = await session.run("log.append('c'); log", cell_id="c")
    assert done.value == ["a", "b", "c"]
    reading = asyncio.create_task(first_reset(session, int((await session.info()).last_event)))
    await past.come_back()
    gate.open()  # for its second run

    again = await session.submit("log.append('c'); log", cell_id="c")
    assert (await again.outcome()).value == ["a", "b", "c"]
    assert await check_log(session) == ["a", "b", "c"]
    assert (await reading).kind == "events.reset"


async def first_reset(session, after):
    async with contextlib.aclosing(session.events(f"{after}-0", follow=True)) as events:
        async for event in events:
            if event.kind == "events.reset":
                return event
    raise AssertionError


async def test_an_idle_session_that_went_back_continues_from_the_state_in_redis(shard, worker, past):
    session = shard.session("s")
    await session.run("n = 1", cell_id="a")
    past.keep()
    await session.run("n += 1", cell_id="b")
    await session.run("n += 1", cell_id="c")
    await past.come_back()

    outcome = await session.run("n += 10; n", cell_id="d", wait=40)

    assert (outcome.value, outcome.seq) == (11, 2)  # the effects of b and c are lost with them, as was reported
    assert await check_log(session) == ["a", "d"]


async def test_a_released_session_continues(shard, worker, past):
    """Redis names an owner that lives, but has released the session."""
    session = shard.session("s")
    await session.run("n = 1", cell_id="a")
    past.keep()
    await session.hibernate()
    await past.come_back()

    assert (await session.run("n += 10; n", cell_id="b", wait=40)).value == 11
    assert await check_log(session) == ["a", "b"]


async def test_a_session_that_had_moved_continues(shard, worker, past, start_worker):
    """Redis names the earlier owner."""
    session = shard.session("s")
    await session.run("n = 1", cell_id="a")
    await session.hibernate()
    await session.run("n += 1", cell_id="b")
    past.keep()
    await session.hibernate()
    await session.run("n += 1", cell_id="c")
    await past.come_back()

    assert (await session.run("n += 10; n", cell_id="d", wait=40)).value == 12
    assert await check_log(session) == ["a", "b", "d"]


async def test_a_new_session_that_was_lost_is_new_again(shard, worker, past):
    past.keep()
    session = shard.session("s")
    await session.run("n = 1", cell_id="a")
    await past.come_back()

    outcome = await session.run("'n' in globals()", cell_id="b", wait=40)
    assert (outcome.value, outcome.seq) == (False, 1)
    assert await check_log(session) == ["b"]


async def test_of_two_outcomes_of_a_cell_the_one_in_redis_counts(shard, worker, past, gate, first_output):
    """A client that knows the first outcome keeps it; a client that asks later receives the one in Redis."""
    session = shard.session("s")
    cell = await session.submit(f"print('on'); {gate.wait}; id(object())", cell_id="a")
    await first_output(cell)
    past.keep()
    gate.open()
    await cell.outcome()
    await past.come_back()
    gate.open()

    async with skep.connect(settings=shard.settings) as other:
        outcome = await other.cell("s", "a").outcome(timeout=40)
    assert outcome.attempt >= 1
    assert await check_log(session) == ["a"]
