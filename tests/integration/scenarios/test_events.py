"""Scenarios: events of cells and sessions, from any point, and transcripts."""

import pytest

import skep

pytestmark = pytest.mark.anyio


def kinds(events):
    return [event.kind for event in events]


async def test_the_events_of_a_cell_end_with_its_finish(client, s):
    cell = await client.submit(s, "print(end='1'); 2")

    assert kinds(await client.cell_events(s, cell)) == [
        "cell.queued",
        "cell.started",
        "output",
        "result",
        "cell.finished",
    ]


async def test_an_error_is_an_event(client, s):
    events = await client.cell_events(s, await client.submit(s, "1 / 0"))

    (error,) = [event for event in events if event.kind == "error"]
    assert (error.ename, error.evalue) == ("ZeroDivisionError", "division by zero")


async def test_events_of_other_cells_are_left_out(client, s):
    cells = await client.submit_many(s, ["print(1)", "print(2)"])

    assert {event.cell_id for event in await client.cell_events(s, cells[1])} == {cells[1]}


async def test_events_of_a_session_are_dense_and_in_order(client, s):
    await client.run(s, "for i in range(50): print(i, flush=True)")
    events = await client.events(s)

    assert [event.id for event in events] == [f"{number}-0" for number in range(1, len(events) + 1)]
    text = "".join(event.text for event in events if event.kind == "output")
    assert text.split() == [str(number) for number in range(50)]


async def test_events_start_after_a_point(client, s):
    await client.run(s, "1")
    events = await client.events(s)

    assert await client.events(s, after=events[2].id) == events[3:]


async def test_events_of_a_cell_start_after_a_point(client, s):
    cell = await client.submit(s, "print(1); 2")
    events = await client.cell_events(s, cell)

    assert await client.cell_events(s, cell, after=events[1].id) == events[2:]


async def test_no_events_come_after_the_last_one(client, s):
    cell = await client.submit(s, "1")
    last = (await client.cell_events(s, cell))[-1]

    assert await client.cell_events(s, cell, after=last.id) == []


async def test_following_continues_with_what_comes(client, s):
    await client.run(s, "1")
    last = (await client.events(s))[-1].id
    await client.submit(s, "print('new')")
    events = await client.follow(s, until="output", after=last)

    assert events[-1].text == "new\n"
    assert "session.started" not in kinds(events)


async def test_following_ends_when_the_session_is_closed(client, s):
    await client.run(s, "1")
    await client.session_call(s, "close")

    assert kinds(await client.follow(s, until="never"))[-1] == "session.closed"


async def test_displays_are_mime_bundles(client, s):
    code = "from IPython.display import HTML, display\ndisplay(HTML('<b>x</b>'))"
    outcome = await client.run(s, code)

    assert [bundle["text/html"] for bundle in outcome.display] == ["<b>x</b>"]


async def test_cleared_output_is_not_in_the_outcome(client, s):
    code = "from IPython.display import clear_output\nprint('old')\nclear_output()\nprint('new')"

    assert (await client.run(s, code)).text == "new\n"


async def test_a_transcript_has_one_record_per_cell(client, s):
    await client.run(s, "print(1)")
    await client.run(s, "1 / 0")
    cells = await client.session_call(s, "transcript")

    assert [(cell.code, cell.text) for cell in cells] == [("print(1)", "1\n"), ("1 / 0", "")]
    assert [cell.outcome().status for cell in cells] == ["finished", "failed"]


async def test_the_transcript_of_an_unknown_session_is_empty(client, s):
    assert await client.session_call(s, "transcript") == []


async def test_a_bad_event_id_is_refused(client, s):
    with pytest.raises(skep.InvalidArgument, match="after"):
        await client.events(s, after="x-1")
