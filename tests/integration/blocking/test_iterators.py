"""Iterators of `skep.sync`: in order, bounded, and released when they are dropped."""

import asyncio
import gc

import pytest

import skep
import skep.sync


def readers():
    """Return how many iterators hold a reader on the loop."""
    found = []

    async def look():
        found.extend(task for task in asyncio.all_tasks() if task.get_name() == "skep.sync reader")

    skep.sync.process.background().wait(look)
    return len(found)


def test_all_events_come_in_order_also_more_than_are_read_ahead(session):
    session.run("for i in range(500): print(i, flush=True)")
    session.submit_many(["pass"] * 300)[-1].outcome()

    numbers = [int(event.id.partition("-")[0]) for event in session.events()]

    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 900


def test_events_of_a_running_cell_come_while_it_runs(session):
    cell = session.submit("print('first', flush=True); input()")
    kinds = []
    for event in cell.events():
        kinds.append(event.kind)
        if event.kind == "input.requested":
            assert session.answer("")

    assert kinds[-1] == "cell.finished"
    assert kinds.index("output") < kinds.index("input.requested")


def test_an_iterator_that_is_dropped_half_way_releases_its_reader(session):
    session.submit_many(["pass"] * 300)[-1].outcome()
    for events in (session.events(), session.events(follow=True)):
        assert next(events).kind == "session.started"
    del events
    gc.collect()
    while readers():
        pass


def test_a_loop_that_breaks_releases_its_reader(session):
    session.run("1")
    for _ in session.events(follow=True):
        break
    gc.collect()
    while readers():
        pass


def test_close_ends_an_iterator(session):
    session.run("1")
    with session.events(follow=True) as events:
        assert next(events).kind == "session.started"
    assert readers() == 0
    assert list(events) == []
    events.close()


def test_an_iterator_that_was_never_started_holds_nothing(session):
    session.run("1")
    events = session.events(follow=True)
    assert readers() == 0
    events.close()


def test_an_error_of_an_iterator_is_raised_once_where_it_is_read(session):
    session.run("1")
    events = session.cell("missing").events()
    with pytest.raises(skep.NotFound):
        next(events)
    assert list(events) == []


def test_a_bad_argument_is_refused_when_the_iterator_is_made(session):
    with pytest.raises(skep.InvalidArgument, match="after"):
        session.events("x")


def test_listings_are_iterators(blocking, session):
    session.run("1")
    assert session.id in {info.id for info in blocking.sessions()}
    assert len({worker.id for worker in blocking.workers()}) == 2
    assert [checkpoint.is_head for checkpoint in session.checkpoints()] == [True]
