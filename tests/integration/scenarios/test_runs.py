"""Scenarios: cells, their outcomes, batches, inputs, and cells for later."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

import skep

pytestmark = pytest.mark.anyio


async def test_the_value_and_the_output_of_a_cell_are_in_its_outcome(client, s):
    outcome = await client.run(s, "print('hello'); 6 * 7")

    assert (outcome.ok, outcome.status, outcome.value, outcome.text) == (True, "finished", 42, "hello\n")
    assert (outcome.session_id, outcome.seq, outcome.attempt, outcome.error) == (s, 1, 1, None)
    outcome.raise_for_status()


async def test_variables_stay_from_cell_to_cell(client, s):
    await client.run(s, "x = 1")
    await client.run(s, "x += 1")

    assert (await client.run(s, "x")).value == 2


async def test_a_value_that_is_no_plain_data_is_its_repr(client, s):
    outcome = await client.run(s, "object")

    assert (outcome.value, outcome.value_is_repr) == ("<class 'object'>", True)


async def test_a_cell_that_raises_fails_with_its_error(client, s):
    outcome = await client.run(s, "1 / 0")

    assert (outcome.status, outcome.error.ename, outcome.error.evalue) == (
        "failed",
        "ZeroDivisionError",
        "division by zero",
    )
    with pytest.raises(skep.CellFailed, match="ZeroDivisionError"):
        outcome.raise_for_status()


async def test_a_syntax_error_is_an_outcome(client, s):
    outcome = await client.run(s, "1 +")

    assert (outcome.status, outcome.error.ename) == ("failed", "SyntaxError")


async def test_a_cell_that_takes_longer_than_its_timeout_ends(client, s):
    outcome = await client.run(s, "import time\nwhile True: time.sleep(0.01)", timeout=0.2)

    assert outcome.status == "timed_out"
    with pytest.raises(skep.CellTimedOut):
        outcome.raise_for_status()


async def test_a_wait_that_takes_too_long_ends_and_the_cell_goes_on(client, s):
    cell = await client.submit(s, "input()")
    with pytest.raises(skep.WaitTimeout, match=s) as raised:
        await client.outcome(s, cell, timeout=0.1)
    assert isinstance(raised.value, TimeoutError)
    await client.follow(s, until="input.requested")
    await client.session_call(s, "answer", "on")

    assert (await client.outcome(s, cell)).value == "on"


async def test_run_waits_no_longer_than_asked(client, s):
    with pytest.raises(skep.WaitTimeout):
        await client.run(s, "input()", wait=0.1)
    await client.interrupt(s)


async def test_a_cell_that_kills_its_process_has_crashed(client, s):
    outcome = await client.run(s, "import os; os._exit(3)", on_worker_loss="fail")

    assert outcome.status == "crashed"
    with pytest.raises(skep.SessionCrashed):
        outcome.raise_for_status()
    assert (await client.run(s, "1")).value == 1


async def test_inputs_are_bound_before_the_cell(client, s):
    inputs = {"n": 2**70, "text": "ä", "items": [1, {"a": None}]}

    assert (await client.run(s, "[n, text, items]", inputs=inputs)).value == [2**70, "ä", [1, {"a": None}]]


async def test_bytes_are_bound_before_the_cell(client, s):
    assert (await client.run(s, "[data]", inputs={"data": b"\0"})).value == [b"\0"]


async def test_the_same_cell_id_is_the_same_cell(client, s):
    first = await client.seq(s, "x = 1; x", "job")
    again = await client.seq(s, "x = 2; x", "job")

    assert (first, again, (await client.outcome(s, "job")).value) == (1, 1, 1)


async def test_labels_are_repeated_in_the_first_event(client, s):
    cell = await client.submit(s, "1", labels={"order": "21"})

    assert (await client.cell_events(s, cell))[0].labels == {"order": "21"}


async def test_a_batch_runs_in_order(client, s):
    cells = await client.submit_many(s, ["x = []", "x.append(1)", {"code": "x", "cell_id": "last"}])
    outcomes = [await client.outcome(s, cell) for cell in cells]

    assert cells[-1] == "last"
    assert [(outcome.seq, outcome.value) for outcome in outcomes] == [(1, None), (2, None), (3, [1])]


async def test_a_batch_stops_at_its_first_error(client, s):
    cells = await client.submit_many(s, ["1", "1 / 0", "2", "3"], stop_on_error=True)
    outcomes = [await client.outcome(s, cell) for cell in cells]

    assert [outcome.status for outcome in outcomes] == ["finished", "failed", "cancelled", "cancelled"]
    assert [outcome.stopped_by for outcome in outcomes] == [None, None, cells[1], cells[1]]


async def test_a_batch_without_stop_on_error_goes_on(client, s):
    cells = await client.submit_many(s, ["1 / 0", "2"])

    assert [(await client.outcome(s, cell)).status for cell in cells] == ["failed", "finished"]


async def test_a_deferred_cell_runs_later(client, s):
    cell = await client.submit(s, "'later'", defer_by=0.2, cell_id="later")

    assert cell == "later"
    await client.follow(s, until="cell.finished")
    assert (await client.outcome(s, cell)).value == "later"


async def test_a_deferred_cell_of_a_session_that_exists_runs_later(client, s):
    await client.run(s, "'earlier'")
    last = (await client.events(s))[-1].id
    await client.submit(s, "'later'", defer_by=0.2, cell_id="later")

    assert (await client.follow(s, until="cell.finished", after=last))[-1].cell_id == "later"
    outcome = await client.outcome(s, "later")
    assert (outcome.seq, outcome.value) == (2, "later")


async def test_a_deferred_cell_is_known_with_its_time_before_it_is_due(client, s):
    before = datetime.now(UTC)
    await client.submit(s, "1", defer_by=3600, cell_id="c")

    due = await client.deferred_until(s, "c")
    assert timedelta(minutes=59) < due - before < timedelta(minutes=61)
    with pytest.raises(skep.WaitTimeout):
        await client.outcome(s, "c", timeout=0.3)
    with pytest.raises(skep.NotFound):
        await client.deferred_until(s, "another")


async def test_the_outcome_of_a_deferred_cell_can_be_waited_for_before_it_is_due(client, s):
    await client.submit(s, "'later'", defer_by=1, cell_id="c")

    assert (await client.outcome(s, "c")).value == "later"
    assert await client.deferred_until(s, "c") is None


async def test_a_cell_deferred_until_a_time_runs_then(client, s):
    await client.submit(s, "1", defer_until=datetime.now(UTC) + timedelta(seconds=0.2), cell_id="c")
    events = await client.follow(s, until="cell.finished")

    assert events[-1].cell_id == "c"


async def test_many_cells_of_many_sessions_at_once_all_end(client, s):
    outcomes = await asyncio.gather(*(client.run(f"{s}-{number % 4}", f"{number}") for number in range(24)))

    assert [outcome.value for outcome in outcomes] == list(range(24))


async def test_warnings_name_a_limit_that_a_value_exceeds(client, s):
    outcome = await client.run(s, "'x' * 20_000_000")

    assert outcome.ok
    assert any("limit" in warning or "bytes" in warning for warning in outcome.warnings)
