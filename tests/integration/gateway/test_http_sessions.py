"""Control, time travel, files and listings over HTTP."""

import hashlib
import secrets

import pytest

from .gateway_process import opened_stream, problem

pytestmark = pytest.mark.anyio


async def run(http, path, code):
    response = await http.post(f"{path}/cells", params={"wait": 40}, json={"code": code})
    assert response.status_code == 200, response.text
    return response.json()["outcome"]


@pytest.fixture
def new_id():
    return f"n-{secrets.token_hex(6)}"


# --- control ----------------------------------------------------------------------------------------------------------


async def test_the_running_cell_is_interrupted(http, path, gate):
    await http.post(f"{path}/cells", json={"code": f"print('runs', flush=True)\n{gate.wait}", "cell_id": "c"})
    async with opened_stream(http, f"{path}/cells/c/events") as stream:
        async for event in stream.events():
            if event["kind"] == "output" and "runs" in event["text"]:  # its "\n" may be an event of its own
                assert (await http.post(f"{path}/interrupt")).json() == {"interrupted": True}

    assert (event["kind"], event["status"]) == ("cell.finished", "interrupted")
    assert (await http.post(f"{path}/interrupt", json={"cell_id": "c"})).json() == {"interrupted": False}


async def test_input_is_answered(http, path):
    await http.post(f"{path}/cells", json={"code": "input('name? ')", "cell_id": "c"})
    async with opened_stream(http, f"{path}/cells/c/events") as stream:
        async for event in stream.events():
            if event["kind"] == "input.requested":
                assert (await http.post(f"{path}/answer", json={"text": "Ada"})).json() == {"answered": True}

    assert (await http.get(f"{path}/cells/c")).json()["outcome"]["value"] == "Ada"


async def test_names_are_completed_described_and_listed(http, path):
    await run(http, path, "import math\nnumber = 42")

    completion = (await http.post(f"{path}/complete", json={"code": "math.sqr"})).json()
    inspection = (await http.post(f"{path}/inspect", json={"name": "math.sqrt"})).json()
    variables = (await http.get(f"{path}/variables")).json()["variables"]

    assert (completion["start"], "sqrt" in str(completion["matches"])) == (5, True)
    assert inspection["found"]
    assert {"name": "number", "type": "int", "repr": "42"}.items() <= variables[-1].items()


@pytest.mark.parametrize(
    ("call", "body", "field"),
    [
        ("answer", {}, "text"),
        ("answer", {"text": 1}, "text"),
        ("complete", {"code": "a", "cursor": 5}, "cursor"),
        ("complete", {"code": "a", "cursor": -1}, "cursor"),
        ("inspect", {"name": "a", "more": 1}, "more"),
        ("interrupt", {"cell": "a"}, "cell"),
        ("rollback", {"checkpoint": ""}, "name"),
        ("fork", {"new_id": "a b"}, "session_id"),
        ("fork", {"new_id": []}, "ids"),
    ],
)
async def test_a_wrong_field_of_a_control_request_is_named(http, path, call, body, field):
    assert problem(await http.post(f"{path}/{call}", json=body), 422, "InvalidArgument")["field"] == field


@pytest.mark.parametrize(
    ("method", "call", "body"),
    [
        ("POST", "interrupt", {}),
        ("POST", "answer", {"text": "a"}),
        ("POST", "complete", {"code": "a"}),
        ("POST", "inspect", {"name": "a"}),
        ("GET", "variables", None),
        ("GET", "checkpoints", None),
        ("GET", "transcript", None),
        ("GET", "notebook.ipynb", None),
        ("GET", "files", None),
        ("GET", "files/a", None),
        ("DELETE", "files/a", None),
        ("POST", "rollback", {"checkpoint": "1-0"}),
        ("POST", "fork", {"new_id": "other-than-all"}),
        ("POST", "hibernate", None),
    ],
)
async def test_a_session_that_does_not_exist_is_not_found(http, path, method, call, body):
    problem(await http.request(method, f"{path}/{call}", json=body), 404, "NotFound")
    problem(await http.get(path), 404, "NotFound")


# --- time travel and the end ------------------------------------------------------------------------------------------


async def test_a_session_goes_back_and_is_forked(http, path, new_id):
    await run(http, path, "x = 1")
    await run(http, path, "x = 2")
    found = (await http.get(f"{path}/checkpoints")).json()["checkpoints"]
    assert [(each["id"], each["is_head"], "x" in each["names"]) for each in found] == [
        ("1-0", False, True), ("2-0", True, True),
    ]  # fmt: skip

    forked = await http.post(f"{path}/fork", json={"new_id": new_id, "at": "1-0"})
    assert (forked.status_code, forked.headers["location"]) == (201, f"/v1/sessions/{new_id}")
    assert (await run(http, f"/v1/sessions/{new_id}", "x"))["value"] == 1
    problem(await http.post(f"{path}/fork", json={"new_id": new_id}), 422, "InvalidArgument")

    assert (await http.post(f"{path}/rollback", json={"checkpoint": "1-0"})).status_code == 204
    assert (await run(http, path, "x"))["value"] == 1
    problem(await http.post(f"{path}/rollback", json={"checkpoint": "77-0"}), 409, "OperationFailed")


async def test_a_session_hibernates_and_is_restored(http, path):
    await run(http, path, "x = 1")

    assert (await http.post(f"{path}/hibernate")).status_code == 204
    assert (await http.get(path)).json()["owner"] is None
    assert (await run(http, path, "x"))["value"] == 1


async def test_a_purged_session_is_gone(http, path):
    await run(http, path, "x = 1")

    assert (await http.delete(path, params={"purge": 1})).status_code == 204
    problem(await http.get(path), 404, "NotFound")
    problem(await http.delete(path), 404, "NotFound")


# --- files ------------------------------------------------------------------------------------------------------------


async def test_a_file_is_put_listed_read_and_removed(http, path):
    data = secrets.token_bytes(3_000_000)
    url = f"{path}/files/data/a%20b%23.bin"

    assert (await http.put(url, content=data)).status_code == 204
    [listed] = (await http.get(f"{path}/files")).json()["files"]
    assert (listed["path"], listed["bytes"]) == ("data/a b#.bin", len(data))
    response = await http.get(url)
    assert hashlib.sha256(response.content).digest() == hashlib.sha256(data).digest()
    assert response.headers["content-disposition"] == "attachment; filename*=UTF-8''a%20b%23.bin"
    assert (await run(http, path, "len(open('data/a b#.bin', 'rb').read())"))["value"] == len(data)

    assert (await http.delete(url)).status_code == 204
    problem(await http.get(url), 404, "NotFound")
    problem(await http.delete(url), 404, "NotFound")


@pytest.mark.parametrize(
    ("range_", "expected"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=5-", slice(5, None)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=1048570-1048590", slice(1048570, 1048591)),
        ("bytes=1500000-99999999", slice(1500000, None)),
        ("bytes=-99999999", slice(0, None)),
    ],
)
async def test_a_range_of_a_file_is_read(http, path, range_, expected):
    data = bytes(range(256)) * 6250  # more than one piece
    await http.put(f"{path}/files/f", content=data)

    response = await http.get(f"{path}/files/f", headers={"Range": range_})

    start, end, _ = expected.indices(len(data))
    assert (response.status_code, response.content) == (206, data[expected])
    assert response.headers["content-range"] == f"bytes {start}-{end - 1}/{len(data)}"


async def test_a_range_beyond_the_file_is_refused(http, path):
    await http.put(f"{path}/files/f", content=b"12345")

    for range_ in ("bytes=5-", "bytes=9-12", "bytes=-0"):
        response = await http.get(f"{path}/files/f", headers={"Range": range_})
        problem(response, 416, "NoSuchRange")
        assert response.headers["content-range"] == "bytes */5"
    for range_ in ("bytes=3-1", "lines=1-2", "bytes=x", "bytes=0-1,3-4", "bytes=-"):
        response = await http.get(f"{path}/files/f", headers={"Range": range_})
        assert (response.status_code, response.content) == (200, b"12345")


async def test_an_unchanged_file_is_not_sent_again(http, path):
    await http.put(f"{path}/files/f", content=b"old")
    tag = (await http.get(f"{path}/files/f")).headers["etag"]

    assert (await http.get(f"{path}/files/f", headers={"If-None-Match": tag})).status_code == 304
    await http.put(f"{path}/files/f", content=b"new")
    assert (await http.get(f"{path}/files/f", headers={"If-None-Match": tag})).content == b"new"
    response = await http.get(f"{path}/files/f", headers={"If-Range": tag, "Range": "bytes=0-0"})
    assert (response.status_code, response.content) == (200, b"new")


async def test_a_file_may_have_any_name(http, path):
    for name in ("a%0Ab", "%F0%9F%90%9D/%25", "x:url.txt"):
        assert (await http.put(f"{path}/files/{name}", content=b"1")).status_code == 204
        assert (await http.get(f"{path}/files/{name}")).content == b"1"
    listed = {each["path"] for each in (await http.get(f"{path}/files")).json()["files"]}
    assert listed == {"a\nb", "\U0001f41d/%", "x:url.txt"}


async def test_an_empty_file_is_a_file(http, path):
    await http.put(f"{path}/files/empty", content=b"")

    response = await http.get(f"{path}/files/empty")
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("name", ["a/%2E%2E/b", "a//b", "%2Fetc/passwd", "a/%2E/b", "x" * 256, "a%00"])
async def test_a_path_out_of_bounds_is_refused(http, path, name):
    for method in ("GET", "PUT", "DELETE"):
        response = await http.request(method, f"{path}/files/{name}", content=b"1" if method == "PUT" else None)
        assert response.status_code in {404, 422}, (method, response.text)
    problem(await http.get(path), 404, "NotFound")


# --- listings ---------------------------------------------------------------------------------------------------------


async def test_sessions_are_listed_page_by_page_and_filtered(http, path, new_id):
    ids = [f"{new_id}-{place}" for place in range(5)]
    for place, each in enumerate(ids):
        options = {"labels": {"app": "shop" if place % 2 else "x:y"}}
        await http.post(f"/v1/sessions/{each}/cells", params={"wait": 40}, json={"code": "1", "options": options})
    await http.delete(f"/v1/sessions/{ids[0]}")

    async def listed(**params):
        found, after = [], None
        while True:
            page = (await http.get("/v1/sessions", params={**params, **({"after": after} if after else {})})).json()
            found += [each["id"] for each in page["sessions"]]
            after = page["next"]
            if after is None:
                return found

    assert await listed(prefix=new_id, limit=2) == ids
    assert await listed(prefix=new_id, label="app:shop", limit=1) == ids[1::2]
    assert await listed(prefix=new_id, label="app:x:y") == ids[::2]
    assert await listed(prefix=new_id, state="closed") == ids[:1]
    assert await listed(prefix=new_id, state="open", limit=1) == ids[1:]
    problem(await http.get("/v1/sessions", params={"state": "asleep"}), 422, "InvalidArgument")
    problem(await http.get("/v1/sessions", params={"limit": 0}), 422, "InvalidArgument")
    problem(await http.get("/v1/sessions", params={"after": "x"}), 422, "InvalidArgument")
    problem(await http.get("/v1/sessions", params={"label": "app"}), 422, "InvalidArgument")
    problem(await http.get("/v1/sessions", params={"prefix": "a b"}), 422, "InvalidArgument")


async def test_a_session_and_its_transcript_are_shown(http, path):
    await run(http, path, "print('out')\n1 / 0")

    info = (await http.get(path)).json()
    [cell] = (await http.get(f"{path}/transcript")).json()["cells"]

    assert (info["state"], info["seq"], info["pending"]) == ("open", 1, 0)
    assert (cell["code"], cell["text"], cell["status"]) == ("print('out')\n1 / 0", "out\n", "failed")
    assert cell["outcome"]["error"]["ename"] == "ZeroDivisionError"


async def test_a_session_is_exported_as_a_notebook(http, path):
    await run(http, path, "print('out')\n6 * 7")

    response = await http.get(f"{path}/notebook.ipynb")

    [cell] = response.json()["cells"]
    assert response.headers["content-type"] == "application/x-ipynb+json"
    assert (response.json()["nbformat"], "".join(cell["source"])) == (4, "print('out')\n6 * 7")
    assert [each["output_type"] for each in cell["outputs"]] == ["stream", "execute_result"]


async def test_workers_are_listed(http, cluster):
    found = (await http.get("/v1/workers")).json()["workers"]

    assert {each["id"] for each in found} == {each.worker_id for each in cluster.worker_processes}


async def test_health_readiness_and_counters_are_shown(http, path):
    await run(http, path, "1")

    assert (await http.get("/healthz")).json() == (await http.get("/readyz")).json() == {"status": "ok"}
    text = (await http.get("/metrics")).text
    assert 'skep_gateway_requests_total{method="POST",route="/v1/sessions/{session_id}/cells",status="200"}' in text
    for line in text.splitlines():
        assert line.startswith("#") or float(line.rpartition(" ")[2]) >= 0


async def test_a_route_that_does_not_exist_is_a_problem_document(http):
    for response in (await http.get("/nope"), await http.post("/v1/workers"), await http.get("/v1/sessions/a/b/c")):
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == response.status_code
        assert response.status_code in {404, 405}
