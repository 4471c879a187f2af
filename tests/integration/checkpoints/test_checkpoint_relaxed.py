"""durability="relaxed": outcomes first, checkpoints later within a limit; a crash reports the lost cells."""

import secrets
from contextlib import aclosing

import pytest

import skep

pytestmark = pytest.mark.anyio

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture
def relaxed(cluster):
    """A session whose outcomes don't wait for checkpoints."""
    return cluster.session(f"r-{secrets.token_hex(6)}", options=skep.SessionOptions(durability="relaxed"))


async def saved(session, checkpoint):
    """Wait until the state after this cell is saved."""
    async with aclosing(session.events(follow=True)) as events:
        async for event in events:
            if event.kind == "checkpoint.saved" and int(event.checkpoint[:-2]) >= checkpoint:
                return
    raise AssertionError("the session was closed")


async def behind(session):
    """Return the warnings about lost cells."""
    return [event.message async for event in session.events() if getattr(event, "category", "") == "checkpoint.behind"]


async def test_a_burst_of_cells_is_saved_soon_afterwards(relaxed):
    cells = await relaxed.submit_many([f"x = {number}" for number in range(50)])
    await cells[-1].outcome()
    await saved(relaxed, 50)
    assert (await relaxed.run(KILL)).status is skep.CellStatus.CRASHED

    assert (await relaxed.run("x")).value == 49
    assert await behind(relaxed) == []


async def test_a_crash_before_the_checkpoint_reports_which_cells_it_undid(relaxed):
    await relaxed.run("x = 1")
    await saved(relaxed, 1)
    await relaxed.submit_many(["x = 2", "x = 3", KILL])

    assert (await relaxed.run("x")).value in {1, 2, 3}
    first = (await relaxed.run("x")).value
    told = await behind(relaxed)
    undone = {1: ["cells 2 to 4"], 2: ["cells 3 to 4"], 3: ["cell 4"]}[first]
    assert [message.removeprefix("the effects of ").partition(" are lost")[0] for message in told] == undone


async def test_a_session_that_hibernates_saves_its_latest_state(relaxed):
    await relaxed.run("import numpy; big = numpy.arange(3_000_000); x = 1")
    await relaxed.run("x = 2; open('f', 'w').write('3');")
    await relaxed.hibernate()

    assert (await relaxed.run("x, int(big[-1]), open('f').read()")).value == (2, 2_999_999, "3")
    assert await behind(relaxed) == []


async def test_a_drained_worker_saves_the_latest_state(shard, start_worker):
    session = shard.session("s", options=skep.SessionOptions(durability="relaxed"))
    first = await start_worker()
    await session.run("x = 1")
    await session.run("x = 2")
    await start_worker()
    await first.stop()

    assert (await session.run("x")).value == 2
    assert await behind(session) == []


async def test_a_killed_worker_loses_the_cells_after_the_checkpoint_and_reports_them(shard, start_worker):
    session = shard.session("s", options=skep.SessionOptions(durability="relaxed"))
    first = await start_worker()
    await session.run("x = 1")
    await saved(session, 1)
    await session.run("x = 2")
    await first.kill()
    await start_worker()

    value = (await session.run("x")).value
    assert (value, len(await behind(session))) in {(1, 1), (2, 0)}
