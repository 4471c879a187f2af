"""Scenarios: interrupts, cancels, input(), and questions to a session that is running a cell."""

import pytest

import skep

pytestmark = pytest.mark.anyio

ENDLESS = "import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.01)"


async def test_an_interrupt_ends_the_running_cell(client, s):
    cell = await client.submit(s, ENDLESS)
    await client.follow(s, until="output")

    assert await client.interrupt(s) is True
    outcome = await client.outcome(s, cell)
    assert (outcome.status, outcome.text) == ("interrupted", "begun\n")
    with pytest.raises(skep.CellInterrupted):
        outcome.raise_for_status()


async def test_an_interrupt_names_a_cell(client, s):
    cell = await client.submit(s, ENDLESS)
    await client.follow(s, until="output")

    assert await client.interrupt(s, cell) is True
    assert (await client.outcome(s, cell)).status == "interrupted"


async def test_an_interrupt_of_a_finished_cell_is_false(client, s):
    cell = await client.submit(s, "1")
    await client.outcome(s, cell)

    assert await client.interrupt(s, cell) is False


async def test_an_interrupt_of_an_unknown_session_raises(client, s):
    with pytest.raises(skep.NotFound, match=s):
        await client.interrupt(s)


async def test_an_interrupt_of_an_unknown_cell_raises(client, s):
    await client.run(s, "1")
    with pytest.raises(skep.NotFound, match="missing"):
        await client.interrupt(s, "missing")


async def test_a_pending_cell_is_cancelled(client, s):
    running = await client.submit(s, "input()")
    waiting = await client.submit(s, "2")
    await client.follow(s, until="input.requested")

    assert await client.cancel(s, waiting) is True
    await client.session_call(s, "answer", "")
    outcome = await client.outcome(s, waiting)
    assert outcome.status == "cancelled"
    with pytest.raises(skep.CellCancelled):
        outcome.raise_for_status()
    assert (await client.outcome(s, running)).ok


async def test_a_finished_cell_can_t_be_cancelled(client, s):
    cell = await client.submit(s, "1")
    await client.outcome(s, cell)

    assert await client.cancel(s, cell) is False


async def test_an_unknown_cell_can_t_be_cancelled(client, s):
    await client.run(s, "1")
    with pytest.raises(skep.NotFound):
        await client.cancel(s, "missing")


async def test_input_is_answered(client, s):
    cell = await client.submit(s, "input('name? ')")
    (*_, request) = await client.follow(s, until="input.requested")

    assert request.prompt == "name? "
    assert await client.session_call(s, "answer", "Ada") is True
    assert (await client.outcome(s, cell)).value == "Ada"


async def test_input_gets_an_end_of_file(client, s):
    cell = await client.submit(s, "input()")
    await client.follow(s, until="input.requested")
    await client.session_call(s, "answer", None)

    assert (await client.outcome(s, cell)).error.ename == "EOFError"


async def test_an_answer_without_a_running_cell_is_false(client, s):
    await client.run(s, "1")

    assert await client.session_call(s, "answer", "x") is False


async def test_an_answer_that_is_no_text_is_refused(client, s):
    await client.run(s, "1")
    with pytest.raises(skep.InvalidArgument, match="text"):
        await client.session_call(s, "answer", 5)


async def test_variables_are_listed_also_while_a_cell_runs(client, s):
    await client.run(s, "number, text = 1, 'abc'")
    cell = await client.submit(s, ENDLESS)
    await client.follow(s, until="output")
    found = {variable.name: variable for variable in await client.session_call(s, "variables")}
    await client.interrupt(s, cell)

    assert (found["number"].type, found["number"].repr, found["text"].length) == ("int", "1", 3)


async def test_code_is_completed(client, s):
    await client.run(s, "reckoning = 1")
    found = await client.session_call(s, "complete", "recko")

    assert (found.matches, found.start, found.end) == (("reckoning",), 0, 5)


async def test_a_cursor_outside_of_the_code_is_refused(client, s):
    await client.run(s, "1")
    with pytest.raises(skep.InvalidArgument, match="cursor"):
        await client.session_call(s, "complete", "x", 5)


async def test_incomplete_code_is_recognised(client, s):
    await client.run(s, "1")
    found = [await client.session_call(s, "is_complete", code) for code in ("1", "for i in x:", "1 )")]

    assert [each.status for each in found] == ["complete", "incomplete", "invalid"]


async def test_a_name_is_inspected(client, s):
    await client.run(s, "def double(n):\n    'Return twice n.'\n    return 2 * n")
    found = await client.session_call(s, "inspect", "double")

    assert (found.found, found.type, found.doc) == (True, "function", "Return twice n.")
    assert (await client.session_call(s, "inspect", "missing")).found is False


async def test_a_question_to_an_unknown_session_raises(client, s):
    with pytest.raises(skep.NotFound, match=s):
        await client.session_call(s, "variables")
