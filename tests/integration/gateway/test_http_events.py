"""Events over HTTP: streams that resume, JSON pages, and their ends."""

import asyncio

import pytest

from .gateway_process import opened_stream, problem

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def gateway_settings():
    return {"keep_alive_seconds": 0.2, "retry_ms": 321}


async def run(http, path, *codes):
    cells = [{"code": code, "cell_id": f"c{place}"} for place, code in enumerate(codes)]
    response = await http.post(f"{path}/cells", params={"wait": 40}, json=cells)
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_stream_has_every_event_in_order_and_ends_with_the_session(http, path):
    await run(http, path, "print(1)", "print(2)")
    async with opened_stream(http, f"{path}/events") as stream:
        kinds, texts = [], []
        async for event in stream.events():
            kinds.append(event["kind"])
            texts.append(event.get("text", ""))
            if event["kind"] == "cell.finished" and event["cell_id"] == "c1":
                await http.delete(path)

    assert kinds[0] == "session.started"
    assert kinds[-1] == "session.closed"
    assert kinds.count("cell.finished") == 2
    assert "".join(texts) == "1\n2\n"
    assert stream.retry == 321


async def test_live_events_reach_all_followers_of_a_session(http, path, gate):
    await http.post(f"{path}/cells", json={"code": f"print('first')\n{gate.wait}\nprint('second')", "cell_id": "c"})
    seen = asyncio.Semaphore(0)

    async def follow():
        texts = []
        async with opened_stream(http, f"{path}/events") as stream:
            async for event in stream.events():
                if event["kind"] == "output":
                    texts.append(event["text"])
                    seen.release()
                if event["kind"] == "cell.finished":
                    return texts
        return texts

    async with asyncio.TaskGroup() as group:
        followers = [group.create_task(follow()) for _ in range(10)]
        for _ in followers:
            await seen.acquire()
        gate.open()

    assert {"".join(follower.result()) for follower in followers} == {"first\nsecond\n"}


async def test_a_stream_resumes_after_any_event(http, path):
    await run(http, path, "for i in range(5): print(i, flush=True)")
    whole = (await http.get(f"{path}/events")).json()["events"]

    for event in whole[:-1]:
        async with opened_stream(http, f"{path}/events", last_id=event["id"]) as stream:
            assert await stream.next_event() == whole[whole.index(event) + 1]


async def test_last_event_id_takes_precedence_over_after(http, path):
    await run(http, path, "1")
    async with opened_stream(http, f"{path}/events", last_id="2-0", after="0-0") as stream:
        assert (await stream.next_event())["id"] == "3-0"


async def test_a_silent_stream_sends_comments(http, path):
    await run(http, path, "1")
    async with opened_stream(http, f"{path}/events") as stream:
        lines = stream.response.aiter_lines()
        while not (await anext(lines)).startswith(": keep-alive"):
            pass


async def test_a_stream_without_follow_ends_with_the_stored_events(http, path):
    await run(http, path, "1")
    async with opened_stream(http, f"{path}/events", follow="false") as stream:
        kinds = [event["kind"] async for event in stream.events()]

    assert kinds[-1] == "cell.finished"


async def test_a_closed_session_tells_its_reader_not_to_come_back(http, path):
    await run(http, path, "1")
    await http.delete(path)
    last = (await http.get(f"{path}/events")).json()["next"]

    async with opened_stream(http, f"{path}/events") as stream:
        assert [event["kind"] async for event in stream.events()][-1] == "session.closed"
    response = await http.get(f"{path}/events", headers={"Accept": "text/event-stream", "Last-Event-ID": last})
    assert response.status_code == 204


async def test_pages_follow_each_other_without_a_gap(http, path):
    await run(http, path, "for i in range(20): print(i, flush=True)")
    whole = (await http.get(f"{path}/events")).json()
    pages, after, has_more = [], "0-0", True
    while has_more:
        page = (await http.get(f"{path}/events", params={"after": after, "limit": 3})).json()
        assert len(page["events"]) <= 3
        pages += page["events"]
        after, has_more = page["next"], page["has_more"]

    assert pages == whole["events"]
    assert not whole["has_more"]
    assert [event["id"] for event in pages] == [f"{number}-0" for number in range(1, len(pages) + 1)]


async def test_an_after_beyond_the_end_is_reported_as_a_reset(http, path):
    await run(http, path, "1")
    [first, *_] = (await http.get(f"{path}/events", params={"after": "9999-0"})).json()["events"]

    assert (first["kind"], first["seen"]) == ("events.reset", "9999-0")
    async with opened_stream(http, f"{path}/events", after="9999-0") as stream:
        assert (await stream.next_event())["kind"] == "events.reset"


async def test_the_events_of_a_cell_end_with_its_end(http, path, gate):
    await http.post(f"{path}/cells", json=[{"code": "print('other')"}, {"code": gate.wait, "cell_id": "c"}])
    async with opened_stream(http, f"{path}/cells/c/events") as stream:
        kinds = []
        async for event in stream.events():
            kinds.append(event["kind"])
            if event["kind"] == "cell.started":
                gate.open()

    assert (kinds[0], kinds[-1]) == ("cell.queued", "cell.finished")
    page = (await http.get(f"{path}/cells/c/events")).json()
    assert [event["kind"] for event in page["events"]] == kinds
    response = await http.get(
        f"{path}/cells/c/events", headers={"Accept": "text/event-stream", "Last-Event-ID": page["next"]}
    )
    assert response.status_code == 204


async def test_characters_that_look_like_line_ends_stay_within_an_event(http, path):
    await run(http, path, r"print('a\u2028b\x85c\u2029d')")
    async with opened_stream(http, f"{path}/events", follow="false") as stream:
        texts = [event["text"] async for event in stream.events() if event["kind"] == "output"]

    assert texts == ["a\u2028b\x85c\u2029d\n"]


@pytest.mark.parametrize("after", ["x", "1-1", "-1", "1.5", "9" * 25, str(2**63), ""])
async def test_an_after_that_is_no_id_is_refused(http, path, after):
    assert (
        problem(await http.get(f"{path}/events", params={"after": after}), 422, "InvalidArgument")["field"] == "after"
    )


async def test_a_last_event_id_that_is_no_id_is_refused(http, path):
    response = await http.get(f"{path}/events", headers={"Last-Event-ID": "x", "Accept": "text/event-stream"})

    assert problem(response, 422, "InvalidArgument")["field"] == "Last-Event-ID"


@pytest.mark.parametrize("accept", ["text/event-stream", "application/json"])
async def test_events_of_what_does_not_exist_are_not_found(http, path, accept):
    headers = {"Accept": accept}
    problem(await http.get(f"{path}/events", headers=headers), 404, "NotFound")
    await run(http, path, "1")
    problem(await http.get(f"{path}/cells/nope/events", headers=headers), 404, "NotFound")


async def test_following_needs_a_stream(http, path):
    await run(http, path, "1")
    response = await http.get(f"{path}/events", params={"follow": True})

    assert problem(response, 422, "InvalidArgument")["field"] == "follow"
