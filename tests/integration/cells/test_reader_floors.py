"""Readers of a log whose beginning was removed: they are notified and continue; no gap is silent."""

import asyncio
import contextlib

import pytest

import skep
from skep import reader
from skep_shared.broker.retention_scripts import RetentionScripts

pytestmark = pytest.mark.anyio


@pytest.fixture
def trim(cluster):
    """Return a function that trims a session's events as retention does."""
    retention = RetentionScripts(cluster._link.redis, cluster._link.keys)

    async def to(session, first):
        return (await retention.trim(session.id, first, page=1_000_000)).floor

    return to


async def numbers_of(events):
    return [int(event.id.partition("-")[0]) async for event in events]


@pytest.fixture
async def floor(session, trim):
    """The floor of a session that had three cells, of which the last one's events are kept."""
    for number in range(3):
        await session.run(f"print({number})", cell_id=f"c{number}")
    return await trim(session, 1_000)


@pytest.mark.parametrize("follow", [False, True])
async def test_a_reader_below_the_floor_is_notified_first(session, floor, follow):
    async with contextlib.aclosing(session.events("2-0", follow=follow)) as events:
        told = await anext(events)
        following = await anext(events)

    assert (told.kind, told.after, told.floor) == ("events.trimmed", "2-0", f"{floor}-0")
    assert (told.id, following.id) == (f"{floor - 1}-0", f"{floor}-0")
    assert (told.cell_id, told.epoch) == (None, 0)


async def test_resuming_after_the_notification_does_not_repeat_it(session, floor):
    [told, *rest] = [event async for event in session.events()]

    assert told.kind == "events.trimmed"
    assert [event async for event in session.events(told.id)] == rest


async def test_a_reader_at_the_floor_is_not_notified(session, floor):
    assert "events.trimmed" not in {event.kind async for event in session.events(f"{floor - 1}-0")}


async def test_a_reader_that_is_overtaken_between_two_pages_is_notified(session, trim, monkeypatch):
    monkeypatch.setattr(reader, "PAGE_EVENTS", 3)
    for number in range(5):
        await session.run(f"print({number})")
    events = session.events()
    seen = [await anext(events)]
    floor = await trim(session, 1_000)
    seen += [event async for event in events]

    [told] = [event for event in seen if event.kind == "events.trimmed"]
    place = seen.index(told)
    assert (told.after, told.floor) == (seen[place - 1].id, seen[place + 1].id) == (seen[place - 1].id, f"{floor}-0")
    numbers = [int(event.id.partition("-")[0]) for event in seen]
    assert numbers[place + 1 :] == list(range(floor, numbers[-1] + 1))
    assert numbers[:place] == list(range(1, place + 1))


async def test_a_reader_that_stops_in_the_middle_leaves_no_task_or_connection(session, monkeypatch):
    monkeypatch.setattr(reader, "PAGE_EVENTS", 3)
    for number in range(5):
        await session.run(f"print({number})")
    before = asyncio.all_tasks()

    async with contextlib.aclosing(session.events()) as events:
        await anext(events)
        ahead = asyncio.all_tasks() - before

    assert [task.done() for task in ahead] == [True]


async def test_a_slow_follower_is_notified_and_continues_live(session, trim):
    await session.run("1")
    async with contextlib.aclosing(session.events(follow=True)) as events:
        first = await anext(events)
        for number in range(400):  # more than it has read ahead
            await session.submit(f"print({number})")
        last = await session.run("'last'")
        floor = await trim(session, 1_000)
        seen = [first]
        while getattr(seen[-1], "cell_id", None) != last.cell_id or seen[-1].kind != "cell.finished":
            seen.append(await anext(events))

    [told] = [event for event in seen if event.kind == "events.trimmed"]
    assert told.floor == f"{floor}-0"
    numbers = [int(event.id.partition("-")[0]) for event in seen]
    place = seen.index(told)
    assert numbers[:place] + numbers[place + 1 :] == sorted(set(numbers) - {floor - 1})


async def test_the_outcome_of_a_trimmed_cell_says_so_at_once(session, floor, cluster):
    with pytest.raises(skep.EventsTrimmed) as caught:
        await cluster.cell(session.id, "c0").outcome(timeout=20)

    assert (caught.value.session_id, caught.value.cell_id, caught.value.floor) == (session.id, "c0", floor)
    assert caught.value.first_event < floor
    assert (await cluster.cell(session.id, "c2").outcome(timeout=20)).text == "2\n"


async def test_a_cell_that_was_trimmed_in_part_has_no_outcome_either(session, trim, cluster):
    cell = await session.submit("for i in range(20): print(i)", cell_id="c")
    await cell.outcome()
    await session.run("1")
    [*_, finished] = [event async for event in cell.events()]
    await trim(session, int(finished.id.partition("-")[0]))

    with pytest.raises(skep.EventsTrimmed):
        async with skep.connect(settings=cluster.settings) as other:  # one that has no reply
            await other.cell(session.id, "c").outcome(timeout=20)


async def test_the_events_of_a_trimmed_cell_say_so(session, floor, cluster):
    with pytest.raises(skep.EventsTrimmed):
        [event async for event in cluster.cell(session.id, "c1").events()]
    assert [event.kind async for event in cluster.cell(session.id, "c2").events()][-1] == "cell.finished"


async def test_a_reader_of_a_pending_cell_is_unaffected_when_earlier_cells_are_trimmed(session, trim, gate, cluster):
    await session.run("1")
    await session.run("2")
    running = await session.submit(f"print('on')\n{gate.wait}", cell_id="running")
    waiting = asyncio.create_task(fold(cluster.cell(session.id, "running")))
    await trim(session, 1_000)
    gate.open()
    await running.outcome()

    assert (await waiting)[-1] == "cell.finished"


async def fold(cell):
    return [event.kind async for event in cell.events()]


async def test_a_transcript_has_the_cells_whose_events_are_complete(session, floor):
    assert [fold.cell_id for fold in await session.transcript()] == ["c2"]


async def test_info_has_the_floor(session, floor):
    assert (await session.info()).floor == floor > 1


async def test_a_fork_of_a_trimmed_session_begins_with_its_own_first_event(session, floor):
    fork = await session.fork(f"{session.id}-fork")
    await fork.run("1")

    assert (await numbers_of(fork.events()))[0] == 1
