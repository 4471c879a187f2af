"""Submitting: each cell id is one cell, batches are accepted whole or refused whole, and errors name the limit."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta

import pytest

import skep

pytestmark = pytest.mark.anyio

COUNT = "n = globals().get('n', 0) + 1\nn"


async def finished_cells(session):
    """Return the ids of the cells that have a terminal event, in order."""
    return [event.cell_id async for event in session.events() if event.kind == "cell.finished"]


async def test_the_same_cell_id_again_is_the_same_cell(session):
    first = await session.submit(COUNT, cell_id="once")
    again = await session.submit("something else", cell_id="once")

    assert again.seq == first.seq == 1
    assert (await again.outcome()).value == (await first.outcome()).value == 1
    assert (await session.run("n")).value == 1


async def test_the_same_cell_id_after_its_end_returns_its_outcome(session):
    first = await session.run(COUNT, cell_id="once")

    assert await session.run(COUNT, cell_id="once") == first
    assert await finished_cells(session) == ["once"]


async def test_the_same_cell_id_from_another_client_is_the_same_cell(cluster, session, gate):
    first = await session.submit(f"{gate.wait}\n{COUNT}", cell_id="once")
    async with skep.connect(cluster.redis_url) as other:
        again = await other.session(session.id).submit(COUNT, cell_id="once")
        gate.open()
        assert await again.outcome() == await first.outcome()

    assert await finished_cells(session) == ["once"]


async def test_ten_concurrent_submits_of_one_id_are_one_cell(cluster, session):
    async with skep.connect(cluster.redis_url) as other:
        sessions = [session, other.session(session.id)] * 5
        outcomes = await asyncio.gather(*[each.run(COUNT, cell_id="once") for each in sessions])

    assert {outcome.value for outcome in outcomes} == {1}
    assert await finished_cells(session) == ["once"]


async def test_the_same_cell_id_after_a_reconnect_is_the_same_cell(cluster, session, gate):
    async with skep.connect(cluster.redis_url) as client:
        await client.session(session.id).submit(f"{gate.wait}\n{COUNT}", cell_id="once")
    gate.open()

    async with skep.connect(cluster.redis_url) as client:
        outcome = await client.session(session.id).run(COUNT, cell_id="once")

    assert outcome.value == 1
    assert await finished_cells(session) == ["once"]


async def test_a_batch_runs_in_its_order(session):
    cells = await session.submit_many([f"seen = [*globals().get('seen', []), {number}]; seen" for number in range(100)])

    assert [cell.seq for cell in cells] == list(range(1, 101))
    assert (await cells[-1].outcome()).value == list(range(100))


async def test_an_id_that_occurs_twice_in_a_batch_is_one_cell(session):
    cells = await session.submit_many([{"code": COUNT, "cell_id": "twin"}, {"code": COUNT, "cell_id": "twin"}])

    assert [cell.seq for cell in cells] == [1, 1]
    assert [outcome.value for outcome in await asyncio.gather(*[cell.outcome() for cell in cells])] == [1, 1]


async def test_a_batch_with_one_bad_cell_is_refused_whole(session):
    with pytest.raises(skep.InvalidArgument):
        await session.submit_many([COUNT, {"code": COUNT, "timeout": -1.0}])

    with pytest.raises(skep.NotFound):
        await session.info()


async def test_a_batch_over_the_backlog_limit_is_refused_whole(cluster, session, gate):
    settings = cluster.settings.model_copy(update={"max_pending_cells": 3})
    async with skep.connect(settings=settings) as client:
        narrow = client.session(session.id)
        cells = await narrow.submit_many([gate.wait, COUNT])
        with pytest.raises(skep.BacklogFull) as caught:
            await narrow.submit_many([COUNT, COUNT])

        assert (caught.value.session_id, caught.value.pending, caught.value.limit) == (session.id, 2, 3)
        gate.open()
        assert (await cells[-1].outcome()).value == 1
        assert (await session.info()).seq == 2


async def test_a_full_backlog_accepts_cells_again_when_some_have_ended(cluster, session, gate):
    settings = cluster.settings.model_copy(update={"max_pending_cells": 1})
    async with skep.connect(settings=settings) as client:
        narrow = client.session(session.id)
        waiting = await narrow.submit(gate.wait)
        with pytest.raises(skep.BacklogFull):
            await narrow.submit(COUNT)
        gate.open()
        await waiting.outcome()

        assert (await narrow.run(COUNT)).value == 1


async def test_a_known_cell_id_is_found_in_a_full_backlog(cluster, session, gate):
    settings = cluster.settings.model_copy(update={"max_pending_cells": 1})
    async with skep.connect(settings=settings) as client:
        narrow = client.session(session.id)
        first = await narrow.submit(gate.wait, cell_id="once")
        assert (await narrow.submit(gate.wait, cell_id="once")).seq == first.seq
        gate.open()
        assert (await first.outcome()).ok


async def test_a_deferred_cell_runs_after_one_that_was_submitted_later(session):
    deferred = await session.submit(COUNT, defer_by=1.0)
    assert deferred.seq is None
    assert (await session.run(COUNT)).value == 1

    outcome = await deferred.outcome()
    assert (outcome.seq, outcome.value) == (2, 2)


async def test_a_cell_deferred_into_the_past_runs_now(session):
    cell = await session.submit(COUNT, defer_until=datetime.now(UTC) - timedelta(hours=1))

    assert (await cell.outcome()).value == 1


async def test_a_cell_id_that_is_deferred_twice_is_one_cell(session):
    twins = [await session.submit(COUNT, cell_id="twin", defer_by=timedelta(milliseconds=10)) for _ in range(2)]

    assert [(await twin.outcome()).value for twin in twins] == [1, 1]
    assert await finished_cells(session) == ["twin"]


async def test_all_events_of_a_deferred_cell_are_read(session):
    cell = await session.submit(COUNT, defer_by=0.01)

    kinds = [event.kind async for event in cell.events()]
    assert kinds == ["cell.queued", "cell.started", "result", "cell.finished"]


async def test_inputs_are_bound_before_their_cell_only(session):
    values = {"a": None, "b": [1, (2.5, "x")], "c": {"k": b"\0\xff"}, "d": 2**100, "e": True}
    first, second = await session.submit_many(
        [{"code": "(a, b, c, d, e)", "inputs": values}, {"code": "a", "inputs": {"a": "later"}}]
    )

    assert (await first.outcome()).value == tuple(values.values())
    assert (await second.outcome()).value == "later"


async def test_inputs_of_a_deferred_cell_arrive_unchanged(session):
    values = {"a": (1, [2]), "b": b"\0", "c": 2**100}
    cell = await session.submit("(a, b, c)", inputs=values, defer_by=0.01)

    assert (await cell.outcome()).value == tuple(values.values())


async def test_labels_travel_with_the_cell(session):
    await session.run("1", labels={"user": "ada"})

    [queued] = [event async for event in session.events() if event.kind == "cell.queued"]
    assert queued.labels == {"user": "ada"}


async def test_options_of_a_session_are_those_of_its_first_cell(cluster):
    name = f"s-{secrets.token_hex(6)}"
    await cluster.session(name, options=skep.SessionOptions(labels={"team": "a"})).run("1")
    await cluster.session(name, options=skep.SessionOptions(labels={"team": "b"})).run("1")

    stored = await cluster._link.redis.hget(cluster._link.keys.session(name), "options")
    assert skep.SessionOptions.unpack(stored).labels == {"team": "a"}


async def test_listing_shows_the_session_and_its_live_owner(cluster, session):
    await session.run("1")

    [info] = [info async for info in cluster.sessions() if info.id == session.id]
    assert (info.state, info.seq, info.cursor, info.owner_alive) == (skep.SessionState.OPEN, 1, 1, True)
    workers = {worker.id: worker async for worker in cluster.workers()}
    assert workers[info.owner].resident >= 0
    assert set(workers) == {process.worker_id for process in cluster.worker_processes}


async def test_a_wait_for_an_outcome_times_out_and_the_cell_keeps_running(session, gate):
    cell = await session.submit(gate.wait)
    with pytest.raises(skep.WaitTimeout):
        await cell.outcome(timeout=0.01)
    gate.open()

    assert (await cell.outcome()).ok
