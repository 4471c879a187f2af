"""A gateway starts, ends in order, and everything around it may die: a client that resumes has every event once."""

import asyncio
import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from ..cli.commands import skep_command
from .gateway_process import GatewayProcess, free_port, opened_stream, problem

pytestmark = pytest.mark.anyio

ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - refused
COUNTING = "import time\nfor i in range(30):\n    print(i, flush=True)\n    time.sleep(0.02)"


@pytest.fixture
def redis_server(stoppable_server):
    """A server of the test's own, which it can kill."""
    return stoppable_server


@pytest.fixture
def gateway_on(shard, start_gateway):
    """Return a function that starts a gateway on the test's shard."""
    return lambda **settings: start_gateway(
        "--redis", shard.settings.redis_url, "--prefix", shard.settings.prefix, **settings
    )


class Follower:
    """Follows a session as a browser does: it resumes after its last event, whatever ended the stream."""

    def __init__(self, url, token):
        self.url = url
        self.token = token
        self.events = []
        self.news = asyncio.Condition()
        self.resumed = 0

    async def follow(self, path, until):
        while True:
            headers = {"Authorization": f"Bearer {self.token}"}
            try:
                async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20) as client:
                    last_id = self.events[-1]["id"] if self.events else ""
                    async with opened_stream(client, path, last_id=last_id) as stream:
                        async for name, event in stream.messages():
                            if name == "error":
                                break
                            async with self.news:
                                self.events.append(event)
                                self.news.notify_all()
                            if until(event):
                                return
            except (httpx.TransportError, AssertionError):  # it is down, or Redis is
                await asyncio.sleep(0.05)
            self.resumed += 1

    async def has(self, count):
        async with self.news:
            await self.news.wait_for(lambda: len(self.events) >= count)

    def check(self):
        assert [event["id"] for event in self.events] == [f"{number}-0" for number in range(1, len(self.events) + 1)]


def ended(event):
    return event["kind"] == "cell.finished" and event["cell_id"] == "last"


async def submit(url, token, path, cell_id):
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=40) as client:
        response = await client.post(f"{path}/cells", json={"code": COUNTING, "cell_id": cell_id})
        assert response.status_code == 202, response.text


async def test_a_follower_survives_the_death_of_the_worker(shard, start_worker, gateway_on):
    worker = await start_worker()
    await start_worker()
    gateway = await gateway_on()
    follower = Follower(gateway.url, gateway.token)
    await submit(gateway.url, gateway.token, "/v1/sessions/s", "last")
    async with asyncio.TaskGroup() as group:
        group.create_task(follower.follow("/v1/sessions/s/events", ended))
        await follower.has(10)
        owner = (await shard.session("s").info()).owner
        victim = worker if worker.worker_id == owner else None
        os.kill(victim.pid if victim else int(owner.split("-")[1]), signal.SIGKILL)

    follower.check()
    assert "cell.retried" in {event["kind"] for event in follower.events}


async def test_a_follower_survives_the_death_of_the_gateway(shard, start_worker, gateway_on):
    await start_worker()
    port = free_port()
    gateway = await gateway_on(port=port)
    token = gateway.token
    follower = Follower(gateway.url, token)
    await submit(gateway.url, token, "/v1/sessions/s", "last")
    async with asyncio.TaskGroup() as group:
        following = group.create_task(follower.follow("/v1/sessions/s/events", ended))
        await follower.has(10)
        await gateway.kill()
        again = await gateway_on(port=port)
        follower.token = again.token  # without tokens in Redis each gateway has its own
        await following

    follower.check()
    assert follower.resumed


async def test_a_follower_survives_a_restart_of_redis(shard, start_worker, gateway_on, stoppable_server):
    await start_worker()
    gateway = await gateway_on(outage_seconds=30)
    follower = Follower(gateway.url, gateway.token)
    await submit(gateway.url, gateway.token, "/v1/sessions/s", "last")
    async with asyncio.TaskGroup() as group:
        group.create_task(follower.follow("/v1/sessions/s/events", ended))
        await follower.has(10)
        stoppable_server.kill()
        await stoppable_server.start()

    follower.check()


async def test_while_redis_is_away_requests_get_503_and_streams_end_to_be_resumed(
    start_worker, gateway_on, stoppable_server
):
    await start_worker()
    gateway = await gateway_on(outage_seconds=0.2)
    async with gateway.client() as client:
        await client.post("/v1/sessions/s/cells", params={"wait": 40}, json={"code": "1"})
        async with opened_stream(client, "/v1/sessions/s/events") as stream:
            messages = stream.messages()
            while (await anext(messages))[1]["kind"] != "cell.finished":
                pass
            stoppable_server.kill()
            name, document = await anext(messages)
            assert (name, document["type"]) == ("error", "urn:skep:RedisUnavailable")
            assert "redis.sock" not in str(document)
        for response in (
            await client.get("/v1/sessions/s"),
            await client.post("/v1/sessions/s/cells", json={"code": "1"}),
            await client.get("/readyz"),
        ):
            problem(response, 503, "RedisUnavailable")
            assert int(response.headers["retry-after"]) >= 1
        assert (await client.get("/healthz")).status_code == 200
        await stoppable_server.start()
        assert (await client.get("/v1/sessions/s")).json()["seq"] == 1
        async with opened_stream(client, "/v1/sessions/s/events", last_id=stream.last_id) as stream:
            await client.post("/v1/sessions/s/cells", json={"code": "2"})
            assert await stream.next_event()


# --- starts and ends --------------------------------------------------------------------------------------------------


async def test_at_sigterm_streams_and_waits_end_first_and_then_the_server(shard, start_worker, gateway_on, gate):
    await start_worker()
    gateway = await gateway_on(retry_ms=77)
    async with gateway.client() as client:
        await client.post("/v1/sessions/s/cells", json={"code": f"print(1, flush=True)\n{gate.wait}", "cell_id": "c"})
        async with opened_stream(client, "/v1/sessions/s/events") as stream, asyncio.TaskGroup() as group:
            async for event in stream.events():
                if event["kind"] == "output":
                    wait = group.create_task(client.get("/v1/sessions/s/cells/c", params={"wait": 40}))
                    while "skep_gateway_requests 2" not in (await client.get("/metrics")).text:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                    stream.retry = None
                    gateway.send_signal(signal.SIGTERM)
        assert stream.retry == 77
        assert wait.result().json()["state"] == "pending"
    assert await gateway.exit_status() == 0
    gate.open()


async def test_an_idle_gateway_ends_at_once_on_ctrl_c(shard, gateway_on):
    gateway = await gateway_on()
    async with gateway.client() as client:
        assert (await client.get("/readyz")).status_code == 200  # and its connection stays open
        gateway.send_signal(signal.SIGINT)
        assert await gateway.exit_status() == 0


async def test_without_a_redis_it_starts_a_cluster_of_its_own():
    gateway = GatewayProcess()
    try:
        await gateway.start()
        async with gateway.client() as client:
            response = await client.post("/v1/sessions/s/cells", params={"wait": 40}, json={"code": "6 * 7"})
            assert response.json()["outcome"]["value"] == 42
            [worker] = (await client.get("/v1/workers")).json()["workers"]
        assert await gateway.stop() == 0
        with pytest.raises(ProcessLookupError):
            os.kill(worker["pid"], 0)
    finally:
        await gateway.kill()


async def test_the_printed_link_logs_a_browser_in_once(shard, gateway_on):
    gateway = await gateway_on()
    async with httpx.AsyncClient(base_url=gateway.url) as browser:
        assert (await browser.get("/v1/sessions")).status_code == 401
        assert (await browser.get("/", params={"token": gateway.link_token})).status_code == 303
        response = await browser.get("/v1/sessions")
        assert response.json()["sessions"] == []
        assert (await browser.post("/v1/sessions/s/cells", json={"code": "1"})).status_code == 403  # without Origin
        own = {"Origin": gateway.url, "X-Skep-CSRF": response.headers["x-skep-csrf"]}
        assert (await browser.post("/v1/sessions/s/cells", json={"code": "1"}, headers=own)).status_code == 202
    async with httpx.AsyncClient(base_url=gateway.url) as other:
        assert (await other.get("/", params={"token": gateway.link_token})).status_code == 403


def run_gateway(*flags, **environment):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
    return subprocess.run(
        [*skep_command("gateway"), *flags],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


def test_a_busy_port_is_one_clear_line():
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        result = run_gateway("--port", str(port))

    assert result.returncode == 3
    assert result.stderr == (
        f"skep: gateway did not start: port {port} of 127.0.0.1 is in use: choose another one (--port, 0 is any free one)\n"
    )


async def test_without_tokens_only_this_machine_is_served(stoppable_server):
    result = await asyncio.to_thread(run_gateway, "--host", ANY_ADDRESS, "--port", "0", "--redis", stoppable_server.url)

    assert result.returncode == 2
    assert "skep tokens create" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "environment", "expected"),
    [
        (("--port", "99999"), {}, "(given by --port)"),
        (("--host", "no such host"), {}, "gateway_host"),
        ((), {"SKEP_GATEWAY_GRACE_SECONDS": "-1"}, "gateway_grace_seconds"),
        ((), {"SKEP_GATEWAY_HOSTS": "not json"}, "hosts"),
        (("--prefix", "p"), {}, "--redis is needed"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(flags, environment, expected):
    result = run_gateway(*(flags or ("--port", "0")), **environment)

    assert result.returncode == 2
    assert expected in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_misspelt_setting_is_reported():
    result = run_gateway("--port", "99999", SKEP_GATEWAY_PROT="1")

    assert (
        "SKEP_GATEWAY_PROT in the environment is not a setting and is ignored; did you mean SKEP_GATEWAY_PORT?"
        in result.stderr
    )


def test_a_missing_extra_is_named():
    hide = (
        "import sys; sys.modules['fastapi'] = None; sys.argv = ['skep', 'gateway']; from skep.cli import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", hide], capture_output=True, text=True, timeout=40, check=False)

    assert result.returncode == 3
    assert "pip install 'skep[gateway]'" in result.stderr
