"""A web service that streams sessions' events to 200 clients, and is restarted in the middle."""

import asyncio
import contextlib
import json
import secrets
import sys
from pathlib import Path

import httpx
import pytest

from . import event_service

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

SESSIONS = 10
CLIENTS = 20  # of each session
CELLS = [
    "import math, decimal; 42", "3.14", "float('nan')", "None", "'\\ud800 alone'", "b'bytes \\xff'", "2**70", "{1: (2, 3)}",
    "print('text', end=''); import sys; print('more', file=sys.stderr)", "1 / 0", "display({'text/plain': 'x'}, raw=True)",
    "decimal.Decimal(1)", "{'a': float('inf')}", "input('name? ') if False else [1, 2.5]",
]  # fmt: skip


@pytest.fixture
async def start_service(cluster, tmp_path):
    """Return a function that starts the service, always on the same socket, and returns its process."""
    socket, started = tmp_path / "service.sock", []

    async def start():
        socket.unlink(missing_ok=True)
        command = [sys.executable, event_service.__file__, cluster.redis_url, str(socket)]
        started.append(await asyncio.create_subprocess_exec(*command))
        async with client_of(socket) as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    assert (await client.get("/")).json() == event_service.READY
                    return started[-1]
                await asyncio.sleep(0.02)  # a socket's appearing sends no signal

    start.socket = socket
    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


def client_of(socket: Path) -> httpx.AsyncClient:
    """Return an HTTP client of the service."""
    transport = httpx.AsyncHTTPTransport(uds=str(socket), limits=httpx.Limits(max_connections=None))
    return httpx.AsyncClient(transport=transport, base_url="http://service", timeout=httpx.Timeout(60))


async def follow(client, session_id, seen, has_begun):
    """Read the session's events to its end, however often the stream breaks; they are appended to `seen`."""
    while not seen or seen[-1]["kind"] != "session.closed":
        headers = {"Last-Event-ID": seen[-1]["id"]} if seen else {}
        with contextlib.suppress(httpx.TransportError):
            async with client.stream("GET", f"/sessions/{session_id}/events", headers=headers) as response:
                assert response.status_code == 200
                async for line in response.aiter_lines():
                    if line.startswith("data: "):
                        seen.append(json.loads(line.removeprefix("data: ")))
                        has_begun.set()
        await asyncio.sleep(0.02)  # as a browser waits before it connects again


async def test_two_hundred_clients_miss_nothing_of_a_service_that_is_restarted(cluster, start_service):
    service = await start_service()
    sessions = [cluster.session(f"s-{secrets.token_hex(6)}") for _ in range(SESSIONS)]
    followed = {session: [([], asyncio.Event()) for _ in range(CLIENTS)] for session in sessions}
    async with client_of(start_service.socket) as client, asyncio.TaskGroup() as group:
        for session, clients in followed.items():
            for seen, has_begun in clients:
                group.create_task(follow(client, session.id, seen, has_begun))
        await asyncio.gather(*(session.run(CELLS[0]) for session in sessions))
        await asyncio.gather(*(has_begun.wait() for clients in followed.values() for _, has_begun in clients))

        cells = [cell for session in sessions for cell in await session.submit_many(CELLS[1:])]
        service.terminate()
        assert await service.wait() in {0, -15}
        await asyncio.gather(*(cell.outcome(timeout=60) for cell in cells))
        await start_service()
        await asyncio.gather(*(session.run(CELLS[-1]) for session in sessions))
        await asyncio.gather(*(session.close() for session in sessions))

    for session, clients in followed.items():
        stored = [json.loads(event.model_dump_json()) async for event in session.events()]
        assert [event["id"] for event in stored] == [f"{number}-0" for number in range(1, len(stored) + 1)]
        for seen, _ in clients:
            assert seen == stored
