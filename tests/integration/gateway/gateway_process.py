"""A gateway as a process of its own, and what its clients need: requests, and streams of events."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx

READ_SECONDS = 45.0


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class GatewayProcess:
    """`skep gateway` on a cluster. Its settings are SKEP_GATEWAY_*, given without that. token: of its clients."""

    def __init__(self, *flags: str, port: int = 0, token: str = "", **settings: object) -> None:
        self._flags = (*flags, "--port", str(port))
        self._environment = {f"SKEP_GATEWAY_{name.upper()}": str(value) for name, value in settings.items()}
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""
        self.link_token = ""
        self.token = token

    async def start(self) -> Self:
        """Start it, and wait until it listens."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "skep.cli", "gateway", *self._flags, env=inherited | self._environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode().strip()
        if not line:
            raise AssertionError(f"the gateway did not start: {await self.errors()}")
        self.url, _, self.link_token = line.partition("/?token=")
        if not self.token:
            assert self._process.stderr is not None
            self.token = (await self._process.stderr.readline()).decode().strip().rpartition("Bearer ")[2]
        return self

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    async def errors(self) -> str:
        """Return what it wrote to stderr, once it has ended."""
        assert self._process is not None
        assert self._process.stderr is not None
        return (await self._process.stderr.read()).decode()

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def exit_status(self) -> int:
        """Wait for its end."""
        assert self._process is not None
        return await self._process.wait()

    async def kill(self) -> None:
        """Kill it, if it still runs."""
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.communicate()

    async def stop(self) -> int:
        """End it in order, and return its exit status."""
        self.send_signal(signal.SIGTERM)
        return await self.exit_status()

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        """Return a client with the gateway's own token, or another one."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=READ_SECONDS, limits=limits)


class Stream:
    """A stream of server-sent events, message by message. retry: the last pause that was sent."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.retry: int | None = None
        self.comments = 0
        self.last_id = ""
        self._kept: AsyncIterator[dict[str, Any]] | None = None  # a dropped iterator would close the connection

    async def messages(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield the name and the data of each message, until the stream ends."""
        name, data = "message", ""
        async for line in self.response.aiter_lines():
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if line.startswith(":"):
                self.comments += 1
            elif field == "id":
                self.last_id = value
            elif field == "event":
                name = value
            elif field == "retry":
                self.retry = int(value)
            elif field == "data":
                data = value
            elif not line and data:
                yield name, json.loads(data)
                name, data = "message", ""

    async def next_event(self) -> dict[str, Any]:
        """Return the next event, of a stream that remains open."""
        self._kept = self._kept or self.events()
        return await anext(self._kept)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield events. Fail for an error."""
        async for name, data in self.messages():
            assert name == "message", data
            yield data


@asynccontextmanager
async def opened_stream(
    client: httpx.AsyncClient, path: str, last_id: str = "", **params: Any
) -> AsyncIterator[Stream]:
    """Open a stream of events."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
    async with client.stream("GET", path, headers=headers, params=params) as response:
        assert response.status_code == 200, (await response.aread()).decode()
        yield Stream(response)


def problem(response: httpx.Response, status: int, name: str) -> dict[str, Any]:
    """Return the problem document of a response that must be this one."""
    document = response.json()
    assert (response.status_code, document["status"], document["type"]) == (status, status, f"urn:skep:{name}"), (
        document
    )
    assert response.headers["content-type"] == "application/problem+json"
    assert document["title"]
    assert document["detail"]
    assert document["remedy"]
    assert "Traceback" not in response.text
    return document
