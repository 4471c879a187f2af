"""What is bounded: tokens, host names, bodies, requests at a time and in a minute, streams, and readers that are slow."""

import asyncio
import contextlib
import socket

import httpx
import pytest

from skep.gateway.tokens.store import TokenStore

from .gateway_process import opened_stream, problem

pytestmark = pytest.mark.anyio


async def run(http, path, code):
    response = await http.post(f"{path}/cells", params={"wait": 40}, json={"code": code})
    assert response.status_code == 200, response.text
    return response.json()["outcome"]


# --- tokens and names -------------------------------------------------------------------------------------------------


@pytest.fixture
def tokens(cluster):
    return TokenStore(cluster._link)


async def test_without_a_valid_token_nothing_is_answered(gateway, path):
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {gateway.token}"},
        {"Authorization": "Bearer"},
    ):
        async with httpx.AsyncClient(base_url=gateway.url, headers=headers) as client:
            for call in ("/v1/sessions", path, "/metrics", "/nope"):
                response = await client.get(call)
                problem(response, 401, "Unauthorized")
                assert response.headers["www-authenticate"] == "Bearer"
            problem(await client.post(f"{path}/cells", json={"code": "1"}), 401, "Unauthorized")
            assert (await client.get("/healthz")).status_code == 200


async def test_a_token_permits_only_what_it_was_made_for(gateway, tokens, path):
    _, reads = await tokens.create(can=["read"])
    _, runs = await tokens.create(can=["run"])
    async with gateway.client(reads) as reader, gateway.client(runs) as runner:
        await run(runner, path, "1")
        assert (await reader.get(path)).status_code == 200
        assert problem(await reader.post(f"{path}/cells", json={"code": "1"}), 403, "Forbidden")["action"] == "run"
        problem(await reader.put(f"{path}/files/f", content=b"1"), 403, "Forbidden")
        problem(await runner.get(path), 403, "Forbidden")
        problem(await runner.delete(path), 403, "Forbidden")
        problem(await runner.get("/metrics"), 403, "Forbidden")


async def test_sessions_of_another_tenant_look_as_if_they_did_not_exist(gateway, http, tokens, path):
    _, acme = await tokens.create(can=["run", "read", "admin"], tenant="acme")
    _, other = await tokens.create(can=["run", "read", "admin"], tenant="other")
    async with gateway.client(acme) as ours, gateway.client(other) as theirs:
        await run(ours, path, "secret = 1")
        foreign, missing = await theirs.get(path), await theirs.get(f"{path}x")
        assert foreign.json() | {"name": "", "detail": ""} == missing.json() | {"name": "", "detail": ""}
        for call in ("events", "variables", "files", "transcript", "checkpoints"):
            problem(await theirs.get(f"{path}/{call}"), 404, "NotFound")
        problem(await http.get(path), 404, "NotFound")  # the shard's own sessions are others
        assert (await theirs.get("/v1/sessions")).json()["sessions"] == []
        [listed] = (await ours.get("/v1/sessions")).json()["sessions"]
        assert f"/v1/sessions/{listed['id']}" == path
        [usage] = (await ours.get("/v1/usage")).json()["tenants"]
        assert (usage["tenant"], usage["use"]["sessions"]) == ("acme", 1)
        problem(await ours.get("/metrics"), 403, "Forbidden")


async def test_a_revoked_token_ends_its_streams(gateway, tokens, path, http):
    record, text = await tokens.create(can=["read"])
    await run(http, path, "1")
    async with gateway.client(text) as client, opened_stream(client, f"{path}/events") as stream:
        names = []
        async for name, data in stream.messages():
            names.append(name)
            if data.get("kind") == "cell.finished":
                await tokens.revoke(record.id)
        assert (names[-1], data["type"]) == ("error", "urn:skep:Unauthorized")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
async def test_a_foreign_host_name_is_refused_on_a_loopback_address(http, host):
    problem(await http.get("/healthz", headers={"Host": host}), 421, "UnknownHost")


async def test_a_browser_gets_refusals_as_pages(gateway):
    async with httpx.AsyncClient(base_url=gateway.url, headers={"Accept": "text/html,*/*;q=0.8"}) as browser:
        response = await browser.get("/v1/sessions")
        foreign = await browser.get("/", headers={"Host": "evil.example"})

    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert response.headers["content-type"] == foreign.headers["content-type"] == "text/html; charset=utf-8"
    assert "<h1>A valid token is needed</h1>" in response.text
    assert foreign.status_code == 421
    assert "SKEP_GATEWAY_HOSTS" in foreign.text


async def test_loopback_names_are_accepted(http, gateway):
    for host in ("localhost", "localhost:1234", "127.0.0.1", "[::1]", "[::1]:80"):
        assert (await http.get("/healthz", headers={"Host": host})).status_code == 200


# --- bodies, numbers and rates ----------------------------------------------------------------------------------------


async def test_a_body_over_its_limit_is_refused_before_it_is_read(another_gateway, path):
    gateway = await another_gateway(max_body_bytes=2000, max_file_bytes=3000)

    async def chunks(count):
        for _ in range(count):
            yield b"x" * 100

    async with gateway.client() as client:
        for response in (
            await client.post(f"{path}/cells", json={"code": "#" * 3000}),
            await client.post(f"{path}/cells", content=chunks(50), headers={"Content-Type": "application/json"}),
            await client.put(f"{path}/files/f", content=b"x" * 3001),
            await client.put(f"{path}/files/f", content=chunks(50)),
        ):
            assert problem(response, 413, "BodyTooLarge")["limit"] in {2000, 3000}
        problem(await client.get(path), 404, "NotFound")
        assert (await client.put(f"{path}/files/f", content=chunks(30))).status_code == 204


async def test_a_file_that_does_not_arrive_completely_is_not_written(gateway, path, http):
    host, _, port = gateway.url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port))) as sock:
        head = f"PUT {path}/files/f HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {gateway.token}\r\n"
        sock.sendall(f"{head}Content-Length: 100\r\n\r\nonly this".encode())
    problem(await http.get(path), 404, "NotFound")


async def test_requests_of_a_token_at_a_time_are_bounded(another_gateway, session, gate):
    gateway = await another_gateway(max_requests_per_token=2)
    await session.submit(gate.wait, cell_id="c")
    url = f"/v1/sessions/{session.id}/cells/c"
    async with gateway.client() as client, asyncio.TaskGroup() as group:
        waits = [group.create_task(client.get(url, params={"wait": 40})) for _ in range(3)]
        done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        [refused] = [wait.result() for wait in done]
        assert problem(refused, 429, "TooManyRequests")["limit"] == 2
        assert int(refused.headers["retry-after"]) >= 1
        gate.open()
        for wait in pending:
            assert (await wait).json()["outcome"]["ok"]


async def test_requests_of_a_token_in_a_minute_are_bounded(another_gateway):
    gateway = await another_gateway(requests_per_minute=3)
    async with gateway.client() as client:
        statuses = [(await client.get("/v1/workers")).status_code for _ in range(4)]
        refused = await client.get("/v1/workers")

    assert statuses[:3] == [200, 200, 200]
    problem(refused, 429, "TooManyRequests")
    assert 1 <= int(refused.headers["retry-after"]) <= 20


async def test_streams_of_a_token_are_bounded(another_gateway, session, eventually):
    gateway = await another_gateway(max_streams_per_token=1)
    await session.run("1")
    url = f"/v1/sessions/{session.id}/events"
    async with gateway.client() as client:
        async with opened_stream(client, url) as stream:
            await stream.next_event()
            response = await client.get(url, headers={"Accept": "text/event-stream"})
            assert problem(response, 429, "TooManyStreams")["limit"] == 1
        await eventually(lambda: gauge_is(client, "streams", 0))
        async with opened_stream(client, url) as stream:
            await stream.next_event()


async def has_ended(client: httpx.AsyncClient, reason: str) -> bool:
    return f'streams_ended_total{{reason="{reason}"}}' in (await client.get("/metrics")).text


async def gauge_is(client: httpx.AsyncClient, name: str, number: int) -> bool:
    return await gauge(client, name) == number


async def gauge(client: httpx.AsyncClient, name: str) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"skep_gateway_{name} "))


# --- readers ----------------------------------------------------------------------------------------------------------


async def test_a_client_that_leaves_ends_its_follower_at_once(http, path, eventually):
    await run(http, path, "1")
    async with opened_stream(http, f"{path}/events") as stream:
        await stream.next_event()
        await eventually(lambda: gauge_is(http, "feeds", 1))  # it joins after it has sent the stored events
    await eventually(lambda: gauge_is(http, "streams", 0))
    await eventually(lambda: gauge_is(http, "feeds", 0))


async def test_200_followers_receive_every_event(http, path, gate):
    code = f"print('begin', flush=True)\n{gate.wait}\nfor i in range(50): print(i, flush=True)"
    await http.post(f"{path}/cells", json={"code": code, "cell_id": "c"})
    begun = asyncio.Semaphore(0)

    async def follow():
        ids = []
        async with opened_stream(http, f"{path}/events") as stream:
            async for event in stream.events():
                ids.append(event["id"])
                if event.get("text", "").startswith("begin"):  # its "\n" may be an event of its own
                    begun.release()
                if event["kind"] == "cell.finished":
                    return ids
        return ids

    async with asyncio.TaskGroup() as group:
        followers = [group.create_task(follow()) for _ in range(200)]
        for _ in followers:
            await begun.acquire()
        assert await gauge(http, "streams") == 200
        gate.open()

    [ids] = {tuple(follower.result()) for follower in followers}
    assert list(ids) == [f"{number}-0" for number in range(1, len(ids) + 1)]


class RawReader:
    """A client that reads as little as it is asked to."""

    def __init__(self, gateway, url):
        self._gateway = gateway
        self._url = url
        self.data = bytearray()

    async def __aenter__(self):
        host, _, port = self._gateway.url.removeprefix("http://").rpartition(":")
        self._reader, self._writer = await asyncio.open_connection(host, int(port), limit=4096)
        head = f"GET {self._url} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream"
        self._writer.write(f"{head}\r\nAuthorization: Bearer {self._gateway.token}\r\n\r\n".encode())
        return self

    async def __aexit__(self, *_):
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def read_until(self, text, at_once=1000):
        while text not in self.data[-2 * at_once - len(text) :]:
            self.data += await self._reader.read(at_once)

    async def read_to_the_end(self):
        with contextlib.suppress(ConnectionError):
            while data := await self._reader.read(65536):
                self.data += data

    @property
    def numbers(self):
        return [int(line[4:-2]) for line in self.data.splitlines() if line.startswith(b"id: ") and line.endswith(b"-0")]


def loud_code(gate):
    text = "x" * 50_000
    return f"print('begin', flush=True)\n{gate.wait}\nfor i in range(400): print('{text}', flush=True)"


async def ids_of(client, url, last_id="", on_begin=lambda: None):
    ids = []
    async with opened_stream(client, url, last_id=last_id) as stream:
        async for event in stream.events():
            ids.append(event["id"])
            if event.get("text", "").startswith("begin"):  # its "\n" may be an event of its own
                on_begin()
            if event["kind"] == "cell.finished":
                return ids
    return ids


async def test_a_slow_reader_misses_nothing_and_does_not_hold_up_others(another_gateway, session, gate, eventually):
    gateway = await another_gateway(stream_bytes=200_000)
    await session.submit(loud_code(gate))
    url = f"/v1/sessions/{session.id}/events"
    async with gateway.client() as client, RawReader(gateway, url) as slow:
        await slow.read_until(b'"begin')  # and no further
        await eventually(lambda: gauge_is(client, "feeds", 1))
        ids = await ids_of(client, url, on_begin=gate.open)
        assert await gauge(client, "stream_overflows_total") >= 1
        await slow.read_until(b"cell.finished", 65536)

    assert [f"{number}-0" for number in slow.numbers] == ids


async def test_a_client_that_stops_reading_is_dropped_and_can_resume(another_gateway, session, gate, eventually):
    gateway = await another_gateway(stream_bytes=200_000, unread_seconds=1)
    await session.submit(loud_code(gate))
    url = f"/v1/sessions/{session.id}/events"
    async with gateway.client() as client, RawReader(gateway, url) as stuck:
        await stuck.read_until(b'"begin')
        ids = await ids_of(client, url, on_begin=gate.open)
        await eventually(lambda: has_ended(client, "slow"))
        await stuck.read_to_the_end()
        assert len(stuck.numbers) < len(ids)
        whole = stuck.numbers[:-1]  # of the last event a part may be missing
        resumed = await ids_of(client, url, last_id=f"{whole[-1]}-0")

    assert [f"{number}-0" for number in whole] + resumed == ids
