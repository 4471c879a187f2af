"""Cells over HTTP: submitted, waited for, looked at, cancelled; and what is refused."""

from datetime import UTC, datetime

import pytest

from .gateway_process import opened_stream, problem

pytestmark = pytest.mark.anyio


async def run(http, path, code, **more):
    response = await http.post(f"{path}/cells", params={"wait": 40}, json={"code": code, **more})
    assert response.status_code == 200, response.text
    return response.json()["outcome"]


async def test_a_cell_that_is_waited_for_comes_with_its_outcome(http, path):
    outcome = await run(http, path, "print('hello')\n(1, b'x', {2: float('nan')})")

    assert (outcome["ok"], outcome["status"], outcome["text"]) == (True, "finished", "hello\n")
    assert outcome["value"] == [1, "eA==", {"2": None}]
    assert outcome["checkpoint"] == "1-0"


async def test_a_cell_is_accepted_with_its_place(http, path, gate):
    response = await http.post(f"{path}/cells", json={"code": gate.wait, "cell_id": "job 7/a"})
    gate.open()

    assert response.status_code == 202
    cell = response.json()
    assert (cell["cell_id"], cell["seq"], cell["state"], cell["outcome"]) == ("job 7/a", 1, "pending", None)
    assert response.headers["location"] == cell["url"] == f"{path}/cells/job%207%2Fa"
    assert (await http.get(cell["url"], params={"wait": 40})).json()["outcome"]["ok"]
    assert (await http.get(cell["events_url"])).json()["events"][-1]["cell_id"] == "job 7/a"
    problem(await http.get(f"{path}/cells/job%207%1Fa"), 422, "InvalidArgument")


async def test_a_cell_can_be_looked_at_later(http, path):
    await http.post(f"{path}/cells", json={"code": "6 * 7", "cell_id": "c"})

    done = (await http.get(f"{path}/cells/c", params={"wait": 40})).json()

    assert (done["state"], done["seq"], done["outcome"]["value"]) == ("done", 1, 42)


async def test_the_same_id_is_the_same_cell(http, path):
    code = "count = globals().get('count', 0) + 1\ncount"
    first = await run(http, path, code, cell_id="once")
    again = await http.post(
        f"{path}/cells", params={"wait": 40}, json={"code": code}, headers={"Idempotency-Key": "once"}
    )

    assert again.json()["outcome"] == first
    known = await http.post(f"{path}/cells", json={"code": code, "cell_id": "once"})
    assert (known.status_code, known.json()["outcome"]) == (200, first)
    assert (await run(http, path, "count"))["value"] == 1


async def test_a_key_that_differs_from_the_cell_id_is_refused(http, path):
    response = await http.post(f"{path}/cells", json={"code": "1", "cell_id": "a"}, headers={"Idempotency-Key": "b"})

    assert problem(response, 422, "InvalidArgument")["field"] == "Idempotency-Key"
    problem(await http.get(path), 404, "NotFound")


async def test_a_wait_that_is_too_short_returns_the_pending_cell(http, path, gate):
    response = await http.post(f"{path}/cells", params={"wait": 0.05}, json={"code": gate.wait, "cell_id": "slow"})
    gate.open()

    assert (response.status_code, response.json()["state"]) == (202, "pending")
    assert (await http.get(f"{path}/cells/slow", params={"wait": 40})).json()["outcome"]["ok"]


async def test_what_the_code_raised_is_in_the_outcome(http, path):
    outcome = await run(http, path, "1 / 0")

    assert (outcome["ok"], outcome["status"], outcome["error"]["ename"]) == (False, "failed", "ZeroDivisionError")


async def test_inputs_labels_and_options_reach_the_session(http, path):
    options = {"labels": {"app": "test"}, "durability": "none"}
    outcome = await run(http, path, "x * 2", inputs={"x": [1, 2]}, labels={"who": "me"}, options=options)
    events = (await http.get(f"{path}/events")).json()["events"]

    assert (outcome["value"], outcome["checkpoint"]) == ([1, 2, 1, 2], None)
    assert [event["labels"] for event in events if event["kind"] == "cell.queued"] == [{"who": "me"}]


async def test_a_list_of_cells_is_one_batch_in_order(http, path):
    batch = [{"code": "a = 1"}, {"code": "a += 1"}, {"code": "a"}]
    response = await http.post(f"{path}/cells", params={"wait": 40}, json=batch)

    assert response.status_code == 200
    assert [cell["seq"] for cell in response.json()] == [1, 2, 3]
    assert response.json()[2]["outcome"]["value"] == 2


async def test_a_batch_can_stop_at_the_first_error(http, path):
    batch = [{"code": "1 / 0", "cell_id": "bad"}, {"code": "print('no')"}]
    response = await http.post(f"{path}/cells", params={"wait": 40, "stop_on_error": True}, json=batch)

    second = response.json()[1]["outcome"]
    assert (second["status"], second["stopped_by"]) == ("cancelled", "bad")


async def test_a_batch_with_one_bad_cell_writes_nothing(http, path):
    response = await http.post(f"{path}/cells", json=[{"code": "a = 1"}, {"code": "a", "timeout": 0}])

    assert problem(response, 422, "InvalidArgument")["field"] == "1.timeout"
    problem(await http.get(path), 404, "NotFound")


async def test_a_deferred_cell_runs_later(http, path):
    response = await http.post(f"{path}/cells", json={"code": "'later'", "cell_id": "d", "defer_by": 0.1})
    assert (response.status_code, response.json()["cell_id"]) == (202, "d")

    found = await http.get(f"{path}/cells/d", params={"wait": 40})
    assert found.json()["outcome"]["value"] == "later"


async def test_a_deferred_cell_is_found_before_it_is_due_but_its_new_session_is_not(http, path):
    posted = await http.post(f"{path}/cells", json={"code": "'later'", "cell_id": "d", "defer_by": 3600})
    found = await http.get(f"{path}/cells/d")

    assert (posted.status_code, found.status_code) == (202, 200)
    assert found.json() == posted.json()
    assert (found.json()["state"], found.json()["seq"], found.json()["outcome"]) == ("deferred", None, None)
    assert datetime.now(UTC) < datetime.fromisoformat(found.json()["due_at"])
    assert (await http.get(f"{path}/cells/d/events")).json()["events"] == []
    problem(await http.get(f"{path}/events"), 404, "NotFound")


async def test_the_stream_of_a_deferred_cell_begins_when_it_is_due(http, path):
    await http.post(f"{path}/cells", json={"code": "'later'", "cell_id": "d", "defer_by": 1})

    async with opened_stream(http, f"{path}/cells/d/events") as stream:
        kinds = [event["kind"] async for event in stream.events()]

    assert (kinds[0], kinds[-1]) == ("cell.queued", "cell.finished")


async def test_a_cell_that_has_not_started_is_cancelled(http, path, gate):
    await http.post(f"{path}/cells", json=[{"code": gate.wait}, {"code": "2", "cell_id": "second"}])

    assert (await http.post(f"{path}/cells/second/cancel")).json() == {"cancelled": True}
    gate.open()
    outcome = (await http.get(f"{path}/cells/second", params={"wait": 40})).json()["outcome"]
    assert outcome["status"] == "cancelled"
    assert (await http.post(f"{path}/cells/second/cancel")).json() == {"cancelled": False}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "code"),
        ({"code": 1}, "code"),
        ({"code": "1", "nonsense": 1}, "nonsense"),
        ({"code": "1", "timeout": "3"}, "timeout"),
        ({"code": "1", "timeout": -1}, "timeout"),
        ({"code": "1", "cell_id": ""}, "cell_id"),
        ({"code": "1", "cell_id": "x" * 201}, "cell_id"),
        ({"code": "1", "cell_id": "a\x00b"}, "cell_id"),
        ({"code": "1", "cell_id": "é" * 101}, "cell_id"),
        ({"code": "1", "max_attempts": 0}, "max_attempts"),
        ({"code": "1", "inputs": {"not a name": 1}}, "inputs"),
        ({"code": "1", "inputs": [1]}, "inputs"),
        ({"code": "1", "labels": {"a": 1}}, "labels.a"),
        ({"code": "1", "on_worker_loss": "shrug"}, "on_worker_loss"),
        ({"code": "1", "options": {"durability": "maybe"}}, "options.durability"),
        ({"code": "1", "options": {"what": 1}}, "options.what"),
        ({"code": "1", "defer_by": -1}, "defer_by"),
        ([], "cells"),
        ("text", "body"),
        (None, "body"),
        ([{"code": "1", "defer_by": 1}], "0.defer_by"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_is_written(http, path, body, field):
    response = await http.post(f"{path}/cells", json=body)

    document = problem(response, 422, "InvalidArgument")
    assert document["field"] == field
    assert document["limit"]
    problem(await http.get(path), 404, "NotFound")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"code": "1", "inputs": {"x": ' + b"[" * 100_000,
        b"[" * 100_000,
        b"9" * 10_000,
        b'{"code": "\xed\xa0\x80"}',
    ],
    ids=["nothing", "half", "no text", "deep input", "deep", "long number", "surrogate"],
)
async def test_a_body_that_is_no_json_is_refused(http, path, body):
    response = await http.post(f"{path}/cells", content=body, headers={"Content-Type": "application/json"})

    assert response.status_code in {400, 422}
    problem(response, response.status_code, "Unreadable" if response.status_code == 400 else "InvalidArgument")
    problem(await http.get(path), 404, "NotFound")


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", None])
async def test_a_body_that_does_not_say_that_it_is_json_is_refused_with_the_header_to_send(http, path, kind):
    headers = {} if kind is None else {"Content-Type": kind}
    response = await http.post(f"{path}/cells", content=b'{"code": "1"}', headers=headers)

    said = problem(response, 400, "Unreadable")
    assert said["detail"] == f"The body's Content-Type is {kind or 'missing'}, so it is not read as JSON."
    assert said["remedy"] == "Send JSON, with Content-Type: application/json."


async def test_lone_surrogates_and_deep_values_are_refused(http, path):
    for text in (r'{"code": "\ud800"}', '{"code": "1", "inputs": {"x": ' + "[" * 150 + "]" * 150 + "}}"):
        response = await http.post(f"{path}/cells", content=text, headers={"Content-Type": "application/json"})
        problem(response, 422, "InvalidArgument")


async def test_code_over_its_limit_is_refused_without_quoting_it(http, path):
    response = await http.post(f"{path}/cells", json={"code": "#" * (1024 * 1024 + 1)})

    assert len(problem(response, 422, "InvalidArgument")["value"]) < 300


@pytest.mark.parametrize("session_id", ["a b", "-a", "ä", "x" * 201, "a%00b"])
async def test_a_session_id_out_of_bounds_is_refused(http, session_id):
    response = await http.post(f"/v1/sessions/{session_id}/cells", json={"code": "1"})

    assert problem(response, 422, "InvalidArgument")["field"] == "session_id"


async def test_a_cell_that_does_not_exist_is_not_found(http, path):
    await run(http, path, "1")

    assert problem(await http.get(f"{path}/cells/nope"), 404, "NotFound")["name"] == "nope"
    problem(await http.post(f"{path}/cells/nope/cancel"), 404, "NotFound")


async def test_a_closed_session_accepts_no_cell(http, path):
    await run(http, path, "1")
    assert (await http.delete(path)).status_code == 204

    problem(await http.post(f"{path}/cells", json={"code": "1"}), 409, "SessionClosed")
