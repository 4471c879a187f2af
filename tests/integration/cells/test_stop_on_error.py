"""`submit_many(…, stop_on_error=True)`: each cell runs only if the one before it succeeded, also without a client."""

import asyncio
import secrets
import signal

import msgpack
import pytest

import skep
from skep_shared.models import CellSpec

from ..session_processes import OWN_NAME, pid_named

pytestmark = pytest.mark.anyio

KILL_PROCESS = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


async def ends(cells):
    """Return the status of each cell."""
    return [(await cell.outcome()).status.value for cell in cells]


async def kinds_of(session, cell):
    """Return the kinds of the events of a cell."""
    return [event.kind async for event in session.events() if event.cell_id == cell.id]


async def test_cells_after_a_failed_one_are_cancelled_and_name_it(session):
    cells = await session.submit_many(["ran = [0]", "1 / 0", "ran.append(2)", "ran.append(3)"], stop_on_error=True)

    assert await ends(cells) == ["finished", "failed", "cancelled", "cancelled"]
    for cell in cells[2:]:
        outcome = await cell.outcome()
        assert outcome.stopped_by == cells[1].id
        assert outcome.error.ename == "CellCancelled"
        assert outcome.error.evalue == (
            f"cell {cells[1].id!r} failed, and this cell was to run only if those before it in its batch succeeded"
        )
        with pytest.raises(skep.CellCancelled, match=cells[1].id):
            outcome.raise_for_status()
        assert await kinds_of(session, cell) == ["cell.queued", "error", "cell.finished"]
    assert (await session.run("ran")).value == [0]


async def test_a_batch_in_which_all_succeed_runs_to_its_end_in_order(session):
    codes = [f"seen = [*globals().get('seen', []), {number}]; seen" for number in range(100)]
    cells = await session.submit_many(codes, stop_on_error=True)

    assert [(await cell.outcome()).value for cell in cells] == [list(range(number + 1)) for number in range(100)]
    assert {(await cell.outcome()).stopped_by for cell in cells} == {None}


async def test_without_it_cells_after_a_failed_one_run(session):
    cells = await session.submit_many(["1 / 0", "2"], stop_on_error=False)

    assert await ends(cells) == ["failed", "finished"]


async def test_a_thousand_cells_are_cancelled(session):
    cells = await session.submit_many(["1 / 0", *["1"] * 999], stop_on_error=True)

    assert set(await ends(cells[1:])) == {"cancelled"}
    assert (await cells[-1].outcome()).stopped_by == cells[0].id
    assert (await session.run("2")).value == 2


async def test_cells_outside_the_batch_are_not_affected(session, gate):
    first = await session.submit_many([gate.wait, "1 / 0", "3"], stop_on_error=True)
    other = await session.submit("'other'")
    second = await session.submit_many(["5", "raise SystemExit(2)", "7"], stop_on_error=True)
    third = await session.submit_many(["8", "9"], stop_on_error=True)
    last = await session.submit("10")
    gate.open()

    assert await ends(first) == ["finished", "failed", "cancelled"]
    assert (await other.outcome()).value == "other"
    assert await ends(second) == ["finished", "failed", "cancelled"]
    assert (await second[2].outcome()).stopped_by == second[1].id
    assert await ends([*third, last]) == ["finished"] * 3


async def test_a_cancelled_cell_stops_those_after_it(session, gate):
    waiting = await session.submit(gate.wait)
    cells = await session.submit_many(["1", "2", "3"], stop_on_error=True)
    assert await cells[1].cancel() is True
    gate.open()

    assert (await waiting.outcome()).ok
    assert await ends(cells) == ["finished", "cancelled", "cancelled"]
    assert (await cells[1].outcome()).stopped_by is None
    assert (await cells[2].outcome()).stopped_by == cells[1].id


async def test_a_cell_cancelled_or_interrupted_before_the_session_had_an_owner_stops_those_after_it(
    shard, start_worker
):
    cells = await shard.session("s").submit_many(["ran = [0]", "ran.append(1)", "ran.append(2)"], stop_on_error=True)
    more = await shard.session("s").submit_many(["4", "5"], stop_on_error=True)
    assert await cells[1].cancel() is True
    assert await more[0].interrupt() is True
    await start_worker()

    assert await ends([*cells, *more]) == ["finished", "cancelled", "cancelled", "interrupted", "cancelled"]
    assert (await shard.session("s").run("ran")).value == [0]


async def test_an_interrupted_cell_stops_those_after_it(session, first_output):
    cells = await session.submit_many(["print('ready')\nwhile True: pass", "2"], stop_on_error=True)
    await first_output(cells[0])
    assert await session.interrupt() is True

    assert await ends(cells) == ["interrupted", "cancelled"]
    assert "was interrupted" in (await cells[1].outcome()).error.evalue


async def test_a_timed_out_cell_stops_those_after_it(session):
    cells = await session.submit_many([{"code": "while True: pass", "timeout": 0.1}, "2"], stop_on_error=True)

    assert await ends(cells) == ["timed_out", "cancelled"]
    assert "timed out" in (await cells[1].outcome()).error.evalue


async def test_a_crashed_cell_stops_those_after_it(session):
    cells = await session.submit_many(["x = 1", KILL_PROCESS, "x = 2", "x = 3"], stop_on_error=True)

    assert await ends(cells) == ["finished", "crashed", "cancelled", "cancelled"]
    assert (await session.run("x")).value == 1


async def test_a_cell_lost_with_its_worker_stops_those_after_it(shard, start_worker, first_output):
    owner = await start_worker()
    cells = await shard.session("s").submit_many(
        [{"code": "print('ready')\nimport time; time.sleep(3600)", "on_worker_loss": "fail"}, "2", "3"],
        stop_on_error=True,
    )
    await first_output(cells[0])
    await owner.kill()
    await start_worker()

    assert await ends(cells) == ["lost", "cancelled", "cancelled"]
    assert (await cells[2].outcome()).stopped_by == cells[0].id


async def test_an_unreadable_cell_stops_those_after_it(shard, start_worker):
    after = CellSpec(code="2", only_after="a").pack()
    await shard._link.scripts.submit("s", [("a", b"\xc1"), ("b", after)], max_pending=9)
    await start_worker()

    assert await ends([shard.session("s").cell(cell_id) for cell_id in ("a", "b")]) == ["failed", "cancelled"]


async def test_cells_are_cancelled_when_the_client_is_gone_too(cluster, session, gate):
    async with skep.connect(cluster.redis_url) as client:
        cells = await client.session(session.id).submit_many(
            [{"code": gate.wait, "cell_id": "a"}, {"code": "1 / 0", "cell_id": "b"}, {"code": "3", "cell_id": "c"}],
            stop_on_error=True,
        )
    gate.open()

    assert await ends([session.cell(cell.id) for cell in cells]) == ["finished", "failed", "cancelled"]


async def test_the_next_owner_cancels_the_rest_of_a_batch_that_failed(shard, start_worker, gate):
    """The failed cell has committed, and the worker is frozen before the next cell."""
    session, redis, keys = shard.session("s"), shard._link.redis, shard._link.keys
    owner = await start_worker()
    cells = await session.submit_many([gate.wait, "1 / 0"], stop_on_error=True)
    gate.open()
    assert await ends(cells) == ["finished", "failed"]
    await owner.kill()
    # As in a batch of three whose last cell no worker has read yet.
    spec = CellSpec(code="2", only_after=cells[1].id)
    await shard._link.scripts.submit("s", [("c", spec.pack())], max_pending=9)
    after = [session.cell("c")]
    assert await redis.hget(keys.session("s"), "cursor") == b"2"
    await start_worker()

    assert await ends(after) == ["cancelled"]
    assert (await after[0].outcome()).stopped_by == cells[1].id


async def test_the_next_owner_names_the_failed_cell_and_no_cancelled_one(shard, start_worker):
    session = shard.session("s")
    owner = await start_worker()
    cells = await session.submit_many(["1 / 0", "2"], stop_on_error=True)
    assert await ends(cells) == ["failed", "cancelled"]
    await owner.kill()
    spec = CellSpec(code="3", only_after=cells[1].id)
    await shard._link.scripts.submit("s", [("c", spec.pack())], max_pending=9)
    await start_worker()

    assert (await session.cell("c").outcome()).stopped_by == cells[0].id
    assert f"cell {cells[0].id!r} failed" in (await session.cell("c").outcome()).error.evalue


async def test_the_next_owner_continues_a_batch_in_which_no_cell_failed(
    shard, start_worker, first_output, gate, process_end
):
    session = shard.session("s")
    owner = await start_worker()
    cells = await session.submit_many(
        ["x = [1]", f"print({OWN_NAME})\n{gate.wait}\nx.append(2)", "x.append(3)", "x", "1 / 0", "x = 0"],
        stop_on_error=True,
    )
    pid = pid_named(await first_output(cells[1]))
    await owner.kill()
    await process_end(pid)
    gate.open()
    await start_worker()

    assert await ends(cells) == ["finished", "finished", "finished", "finished", "failed", "cancelled"]
    assert (await cells[3].outcome()).value == [1, 2, 3]
    assert (await session.run("x")).value == [1, 2, 3]


async def test_a_drain_between_the_failure_and_the_next_cell_changes_nothing(shard, start_worker, gate):
    session = shard.session("s")
    owner = await start_worker()
    waiting = await session.submit(gate.wait)
    cells = await session.submit_many(["1 / 0", *["2"] * 50], stop_on_error=True)
    owner._process.send_signal(signal.SIGTERM)
    gate.open()
    await start_worker()

    assert (await waiting.outcome()).ok
    assert await ends(cells) == ["failed", *["cancelled"] * 50]


async def test_a_session_without_checkpoints_stops_too(cluster):
    for durability in ("none", "relaxed"):
        options = skep.SessionOptions(durability=durability)
        session = cluster.session(f"s-{secrets.token_hex(6)}", options=options)
        cells = await session.submit_many(["x = 1", "1 / 0", "x = 2"], stop_on_error=True)

        assert await ends(cells) == ["finished", "failed", "cancelled"]
        assert (await session.run("x")).value == 1


async def test_a_batch_that_is_sent_again_is_the_same_one(session):
    batch = [{"code": code, "cell_id": str(number)} for number, code in enumerate(["0", "1 / 0", "2"])]
    first = await session.submit_many(batch, stop_on_error=True)
    assert await ends(first) == ["finished", "failed", "cancelled"]
    again = await session.submit_many(batch, stop_on_error=True)

    assert [cell.seq for cell in again] == [1, 2, 3]
    assert await ends(again) == ["finished", "failed", "cancelled"]


@pytest.mark.parametrize(("last", "end"), [("1 / 0", "cancelled"), ("1", "finished")])
async def test_a_batch_that_begins_with_known_cells_is_continued(session, last, end):
    known = await session.submit_many([{"code": "0", "cell_id": "a"}, {"code": last, "cell_id": "b"}])
    await known[1].outcome()
    assert (await session.run("'between'")).ok
    cells = await session.submit_many(
        [{"code": "0", "cell_id": "a"}, {"code": last, "cell_id": "b"}, {"code": "3", "cell_id": "c"}],
        stop_on_error=True,
    )

    assert [cell.seq for cell in cells] == [1, 2, 4]
    assert (await cells[2].outcome()).status.value == end
    assert (await cells[2].outcome()).stopped_by == ("b" if end == "cancelled" else None)


async def test_a_batch_that_begins_with_waiting_cells_is_continued(session, gate):
    waiting = await session.submit(gate.wait)
    first = await session.submit_many([{"code": "1 / 0", "cell_id": "a"}], stop_on_error=True)
    other = await session.submit("'other'")
    more = await session.submit_many([{"code": "1 / 0", "cell_id": "a"}, "2"], stop_on_error=True)
    gate.open()

    assert await ends([waiting, *first, other, *more]) == ["finished", "failed", "finished", "failed", "cancelled"]


async def test_a_known_cell_after_a_new_one_is_refused_and_nothing_is_written(session):
    await session.run("0", cell_id="known")
    with pytest.raises(skep.InvalidArgument, match="known"):
        await session.submit_many(["1", {"code": "0", "cell_id": "known"}, "2"], stop_on_error=True)

    assert (await session.info()).seq == 1
    cells = await session.submit_many(["1", {"code": "0", "cell_id": "known"}])
    assert await ends(cells) == ["finished", "finished"]


@pytest.mark.parametrize("flag", [None, 1, "yes", "known-cell", 0.0])
async def test_a_flag_that_is_no_bool_is_refused(session, flag):
    with pytest.raises(skep.InvalidArgument, match="stop_on_error"):
        await session.submit_many(["1"], stop_on_error=flag)

    with pytest.raises(skep.NotFound):
        await session.info()


async def test_an_id_twice_is_refused(session):
    with pytest.raises(skep.InvalidArgument, match="twin"):
        await session.submit_many(
            [{"code": "1", "cell_id": "twin"}, "2", {"code": "1", "cell_id": "twin"}], stop_on_error=True
        )

    with pytest.raises(skep.NotFound):
        await session.info()


async def test_a_caller_can_not_set_the_predecessor_of_a_cell(session):
    with pytest.raises(skep.InvalidArgument, match="only_after"):
        await session.submit_many(["1", {"code": "2", "only_after": "x"}])


@pytest.mark.parametrize("after", ["nobody", "itself", "later"])
async def test_a_cell_whose_predecessor_can_not_have_ended_is_cancelled(shard, start_worker, after):
    """No client writes that. Whatever is in Redis, a session must not stop."""
    spec = CellSpec(code="1", only_after=after)
    await shard._link.scripts.submit(
        "s", [("itself", spec.pack()), ("later", CellSpec(code="2").pack())], max_pending=9
    )
    await start_worker()

    cells = [shard.session("s").cell(cell_id) for cell_id in ("itself", "later")]
    assert await ends(cells) == ["cancelled", "finished"]
    assert (await cells[0].outcome()).stopped_by == after


async def test_a_rollback_after_a_stopped_batch_restores_the_state_it_left(session):
    cells = await session.submit_many(["x = 1", "x = 2; 1 / 0", "x = 3"], stop_on_error=True)
    assert await ends(cells) == ["finished", "failed", "cancelled"]
    assert (await session.run("x")).value == 2  # what a cell has done before it failed stays done
    await session.rollback((await cells[0].outcome()).checkpoint)

    assert (await session.run("x")).value == 1
    assert await ends(await session.submit_many(["x = 4", "x"], stop_on_error=True)) == ["finished", "finished"]


async def test_a_fork_ignores_batches_of_its_origin(session):
    cells = await session.submit_many(
        [{"code": "x = 1", "cell_id": "a"}, {"code": "1 / 0", "cell_id": "b"}, {"code": "x = 3", "cell_id": "c"}],
        stop_on_error=True,
    )
    assert await ends(cells) == ["finished", "failed", "cancelled"]
    fork = await session.fork(f"{session.id}-fork", at=(await cells[0].outcome()).checkpoint)
    again = await fork.submit_many(
        [{"code": "x", "cell_id": "b"}, {"code": "x = 3", "cell_id": "c"}], stop_on_error=True
    )

    assert await ends(again) == ["finished", "finished"]


async def test_a_close_ends_a_batch(session, first_output):
    cells = await session.submit_many(["print('ready')\nwhile True: pass", "1", "2"], stop_on_error=True)
    await first_output(cells[0])
    await session.close()

    assert await ends(cells) == ["interrupted", "cancelled", "cancelled"]


async def test_waiters_of_a_stopped_batch_are_notified_at_the_same_time(session, gate):
    cells = await session.submit_many([gate.wait, "1 / 0", *["1"] * 20], stop_on_error=True)
    waits = asyncio.gather(*[cell.outcome() for cell in cells])
    gate.open()

    assert [outcome.status.value for outcome in await waits] == ["finished", "failed", *["cancelled"] * 20]


async def test_the_transcript_has_cancelled_cells_with_their_reason(session):
    cells = await session.submit_many(["1 / 0", "2"], stop_on_error=True)
    await cells[1].outcome()

    fold = (await session.transcript())[1]
    assert (fold.code, fold.outcome().status.value, fold.outcome().stopped_by) == ("2", "cancelled", cells[0].id)


async def test_specs_of_other_cells_have_no_field_for_it(shard):
    await shard.session("s").submit_many(["1", "2"])
    batch = await shard.session("s").submit_many(["3", "4"], stop_on_error=True)

    entries = await shard._link.redis.xrange(shard._link.keys.cells("s"))
    assert [msgpack.unpackb(fields[b"b"]) for _, fields in entries] == [
        {"code": "1"}, {"code": "2"}, {"code": "3"}, {"code": "4", "only_after": batch[0].id},
    ]  # fmt: skip


async def test_deaths_of_workers_before_a_cell_is_cancelled_do_not_count_as_attempts(shard, start_worker):
    """Each worker notes that it is about to begin the cell, and dies before it sees that it must not."""
    session, redis, keys = shard.session("s"), shard._link.redis, shard._link.keys
    owner = await start_worker()
    cells = await session.submit_many(["1 / 0"], stop_on_error=True)
    assert await ends(cells) == ["failed"]
    await owner.kill()
    spec = CellSpec(code="2", only_after=cells[0].id, max_attempts=2)
    await shard._link.scripts.submit("s", [("b", spec.pack())], max_pending=9)
    await redis.hset(keys.session("s"), mapping={"losses": 5, "begun": 2})
    await start_worker()

    assert (await session.cell("b").outcome()).status == "cancelled"
