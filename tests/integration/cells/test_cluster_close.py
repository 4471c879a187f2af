"""Closing: the running cell is interrupted, waiting cells are cancelled, each with one terminal event, and no event follows."""

import asyncio
from collections import Counter

import pytest

import skep

from ..session_processes import pid_of

pytestmark = pytest.mark.anyio


async def stored_events(session):
    """Return the stored fields of the session."""
    return [event async for event in session.events()]


async def keys_that_name(cluster, session):
    """Return every key, and every member of an index, that has the session's id."""
    redis, keys = cluster._link.redis, cluster._link.keys
    found = [name async for name in redis.scan_iter(match=f"*{session.id}*")]
    for index in (keys.sessions, keys.waiting):
        found += [name for name in await redis.zrange(index, 0, -1) if name.decode() == session.id]
    async for worker in cluster.workers():
        found += [name for name in await redis.smembers(keys.owned(worker.id)) if name.decode() == session.id]
    return found


async def test_a_running_cell_is_interrupted_and_queued_ones_are_cancelled(session, first_output):
    cells = await session.submit_many(["print('ready')\nwhile True: pass", "1", "2"])
    await first_output(cells[0])

    await session.close()

    statuses = [(await cell.outcome()).status for cell in cells]
    assert statuses == [skep.CellStatus.INTERRUPTED, skep.CellStatus.CANCELLED, skep.CellStatus.CANCELLED]


async def test_each_cell_has_one_terminal_event_and_the_session_s_is_the_last(session, first_output):
    cells = await session.submit_many(["print('ready')\nwhile True: pass", *["1"] * 100])
    await first_output(cells[0])
    await session.close()

    events = await stored_events(session)
    ends = Counter(event.cell_id for event in events if event.kind == "cell.finished")
    assert ends == {cell.id: 1 for cell in cells}
    assert [event.id for event in events] == [f"{number}-0" for number in range(1, len(events) + 1)]
    assert events[-1].kind == "session.closed"


async def test_closing_right_after_the_submit_ends_the_session(cluster, session):
    for number in range(20):  # one of the requests arrives while a worker is taking the session
        own = cluster.session(f"{session.id}-{number}")
        cell = await own.submit("import time; time.sleep(3600)")
        await own.close(timeout=10)
        assert not (await cell.outcome()).ok


async def test_a_cell_that_ignores_interrupts_ends_nevertheless(session, first_output):
    code = "print('ready')\nwhile True:\n    try:\n        while True: pass\n    except BaseException: pass"
    cell = await session.submit(code)
    await first_output(cell)
    await session.close()

    assert not (await cell.outcome()).ok


async def test_a_closed_session_refuses_cells(session):
    await session.run("1")
    await session.close()

    with pytest.raises(skep.SessionClosed) as caught:
        await session.submit("2")
    assert caught.value.session_id == session.id
    info = await session.info()
    assert (info.state, info.seq, info.owner) == (skep.SessionState.CLOSED, 1, None)


async def test_the_record_of_a_closed_session_can_still_be_read(session):
    first = await session.run("print('x'); 7", cell_id="seven")
    await session.close()

    assert await session.cell("seven").outcome() == first
    assert (await session.submit("ignored", cell_id="seven")).seq == 1


async def test_closing_again_changes_nothing(session):
    await session.run("1")
    await session.close()
    before = await stored_events(session)
    await session.close()

    assert await stored_events(session) == before


async def test_two_clients_may_close_at_the_same_time(cluster, session, first_output):
    cell = await session.submit("print('ready')\nwhile True: pass")
    await first_output(cell)
    async with skep.connect(cluster.redis_url) as other:
        await asyncio.gather(session.close(), other.session(session.id).close())

    assert [event.kind for event in await stored_events(session)].count("session.closed") == 1


async def test_an_unknown_session_can_not_be_closed(session):
    with pytest.raises(skep.NotFound):
        await session.close()


async def test_following_a_session_ends_when_it_is_closed(session):
    await session.run("1")
    following = asyncio.create_task(_collect(session.events(follow=True)))
    await session.close()

    assert await following == await stored_events(session)


async def _collect(events):
    return [event async for event in events]


async def test_the_process_of_a_closed_session_is_gone(session, process_end):
    pid = await pid_of(session)
    await session.close()

    await process_end(pid)


async def test_purging_leaves_no_key_of_the_session(cluster, session, first_output):
    cells = await session.submit_many(["print('ready')\nwhile True: pass", "1"])
    await first_output(cells[0])
    assert await keys_that_name(cluster, session)

    await session.close(purge=True)

    assert await keys_that_name(cluster, session) == []
    with pytest.raises(skep.NotFound):
        await session.info()


async def test_the_id_of_a_purged_session_is_new(session):
    await session.run("n = 1", cell_id="a")
    await session.close(purge=True)

    outcome = await session.run("'n' in globals()", cell_id="a")
    assert (outcome.seq, outcome.value) == (1, False)
