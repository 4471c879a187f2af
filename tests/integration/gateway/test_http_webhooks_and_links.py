"""Webhooks, signed links, and the tokens of an identity provider, by their routes."""

import httpx
import pytest

from .gateway_process import problem
from .receiver import Receiver

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def gateway_settings():
    return {"webhook_internal": '["127.0.0.0/8"]', "webhook_poll_seconds": 0.1}


async def run(http, path, code):
    response = await http.post(f"{path}/cells", params={"wait": 40}, json={"code": code})
    assert response.status_code == 200, response.text


async def test_a_webhook_is_made_used_shown_replayed_and_removed(http, path, session):
    receiver = await Receiver().start()
    try:
        spec = {"url": receiver.url, "events": ["cell.finished"], "prefix": session.id}
        made = await http.put("/v1/webhooks/ci", json=spec)
        assert made.status_code == 201
        assert made.json()["secret"].startswith("whsec_")
        await run(http, path, "1")
        await receiver.until(lambda found: len(found.accepted) == 1)
        [(session_id, number)] = receiver.accepted
        assert session_id == session.id

        again = await http.put("/v1/webhooks/ci", json=spec)
        assert (again.status_code, again.json()["secret"]) == (200, None)
        shown = (await http.get("/v1/webhooks/ci")).json()
        assert (shown["state"], "secret" in shown) == ("active", False)
        assert [each["name"] for each in (await http.get("/v1/webhooks")).json()["webhooks"]] == ["ci"]

        replay = {"session_id": session.id, "after": "0-0"}
        assert (await http.post("/v1/webhooks/ci/replay", json=replay)).status_code == 204
        await receiver.until(lambda found: len(found.accepted) == 2)
        assert receiver.accepted == [(session_id, number)] * 2
        assert (await http.delete("/v1/webhooks/ci")).status_code == 204
        problem(await http.get("/v1/webhooks/ci"), 404, "NotFound")
    finally:
        await receiver.stop()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "https://example.org", "events": ["nonsense"]}, "events"),
        ({"url": "ftp://example.org", "events": ["*"]}, "url"),
        ({"url": "http://10.0.0.1/", "events": ["*"]}, "url"),
        ({"url": "https://example.org", "events": ["*"], "more": 1}, "more"),
        ({"url": "https://example.org", "events": ["*"], "secret": "short"}, "secret"),
    ],
)
async def test_a_wrong_webhook_is_refused(http, body, field):
    assert problem(await http.put("/v1/webhooks/wrong", json=body), 422, "InvalidArgument")["field"] == field
    problem(await http.get("/v1/webhooks/wrong"), 404, "NotFound")


async def test_a_signed_link_works_without_a_token_for_its_file_only(http, gateway, path):
    await http.put(f"{path}/files/a.txt", content=b"hello")
    link = (await http.post(f"{path}/files/a.txt:url", json={"seconds": 60})).json()
    writing = (await http.post(f"{path}/files/b.txt:url", json={"method": "PUT"})).json()

    async with httpx.AsyncClient(base_url=gateway.url) as anyone:
        assert (await anyone.get(link["url"])).content == b"hello"
        head = await anyone.head(link["url"])
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "5")
        assert (await anyone.put(writing["url"], content=b"there")).status_code == 204
        problem(await anyone.get(link["url"].replace("a.txt", "b.txt")), 401, "Unauthorized")
        problem(await anyone.put(link["url"], content=b"no"), 401, "Unauthorized")
        problem(await anyone.get(link["url"].replace("signature=", "signature=0")), 401, "Unauthorized")
    assert (await http.get(f"{path}/files/b.txt")).content == b"there"
    problem(await http.post(f"{path}/files/a.txt:url", json={"seconds": 0}), 422, "InvalidArgument")
    problem(await http.post(f"{path}/files/a%2F..%2Fb:url", json={}), 422, "InvalidArgument")
