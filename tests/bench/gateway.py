"""The HTTP gateway: a round trip compared with the client's own, events to many followers, and followers that wait.

Requests and streams are sent over plain sockets, so that a client library is not what is measured.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from time import perf_counter
from typing import Self

import skep

from .figures import Figure, Goal, Row
from .lab import Lab
from .processes import pss_megabytes
from .warm import warm_cells

NAME = "gateway"
ABOUT = "HTTP: POST ?wait compared with the client and jupyter_server, events to 100 followers, 1,000 idle followers"
PEERS: tuple[str, ...] = ("server",)

FOLLOWERS = 100
IDLE = 1000
AT_ONCE = 50
STEP_SECONDS = 90.0


class Connection:
    """One HTTP/1.1 connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        self._reader = reader
        self._writer = writer
        self._token = token

    async def run(self, session_id: str, code: str) -> None:
        """Submit a cell, and wait for its outcome."""
        body = json.dumps({"code": code}).encode()
        self._send("POST", f"/v1/sessions/{session_id}/cells?wait=60", "application/json", body)
        head = await self._head()
        length = int(head.partition(b"content-length: ")[2].split()[0])
        answer = await self._reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200") or b'"ok":true' not in answer:
            raise RuntimeError(f"{head.decode()}{answer.decode()[:300]}")

    async def follow(self, session_id: str) -> None:
        """Ask for the session's events, from now on."""
        self._send("GET", f"/v1/sessions/{session_id}/events", "text/event-stream")
        head = await self._head()
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())

    async def read_until(self, text: bytes) -> int:
        """Read events until one has this text; return how many came."""
        count, tail = 0, b""
        while text not in tail:
            data = await self._reader.read(1 << 16)
            if not data:
                raise RuntimeError("the stream has ended")
            count += data.count(b"\nid: ") + data.startswith(b"id: ")
            tail = tail[-len(text) :] + data
        return count

    async def aclose(self) -> None:
        """Close it."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _send(self, method: str, target: str, accept: str, body: bytes = b"") -> None:
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {self._token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)

    async def _head(self) -> bytes:
        return await self._reader.readuntil(b"\r\n\r\n")


class Gateway:
    """`skep gateway` on a cluster, as a process of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._process: asyncio.subprocess.Process | None = None
        self._port = 0
        self._token = ""

    async def __aenter__(self) -> Self:
        """Start it."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "skep.cli", "gateway", "--port", "0", "--redis", self._url, env=inherited,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        address = (await self._process.stdout.readline()).decode().partition("/?")[0]
        self._port = int(address.rpartition(":")[2])
        self._token = (await self._process.stderr.readline()).decode().split()[-1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            await self._process.communicate()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    async def connect(self) -> Connection:
        """Open a connection."""
        return Connection(*await asyncio.open_connection("127.0.0.1", self._port), self._token)


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure all three on one cluster."""
    async with lab.cluster() as cluster, Gateway(cluster.redis_url) as gateway:
        yield await _round_trip(lab, cluster, gateway)
        yield await _followers(lab, cluster, gateway)
        yield await _idle(lab, cluster, gateway)


async def _round_trip(lab: Lab, cluster: skep.Cluster, gateway: Gateway) -> Row:
    rounds, blocks = lab.pick((100, 10), (40, 4))
    connection = await gateway.connect()
    bare: list[float] = []
    ours: list[float] = []
    theirs: list[float] = []
    session = cluster.session("round-trip")
    async with AsyncExitStack() as stack:
        server, note = await lab.try_peer(stack, "server", "notebook_server")
        if server is not None:
            await server.try_ask("warm", rounds=20)
        await warm_cells(session, rounds)
        await _posts(connection, rounds)
        for block in range(blocks):
            if block % 2:
                ours += await _posts(connection, rounds)
                bare += await warm_cells(session, rounds)
            else:
                bare += await warm_cells(session, rounds)
                ours += await _posts(connection, rounds)
            if server is not None:
                theirs += await server.try_ask("warm", rounds=rounds // 4) or []
    await connection.aclose()
    http, client = Figure.of("gateway", ours), Figure.of("client", bare)
    peers = (Figure.of("jupyter_server", theirs),) if theirs else ()
    goals = (
        Goal("p50 / the client's p50", http.value / client.value, 4.0),
        *(Goal("times faster than jupyter_server", peer.value / http.value, 1.5, at_least=True) for peer in peers),
    )
    return Row("`1+1` by `POST …/cells?wait`", http, client, peers, goals, note)


async def _posts(connection: Connection, rounds: int) -> list[float]:
    taken = []
    for _ in range(rounds):
        started = perf_counter()
        await connection.run("round-trip", "1+1")
        taken.append((perf_counter() - started) * 1000)
    return taken


async def _followers(lab: Lab, cluster: skep.Cluster, gateway: Gateway) -> Row:
    lines = lab.pick(50_000, 5_000)
    session = cluster.session("loud")
    await session.run("print('begin')")
    followers = [await gateway.connect() for _ in range(FOLLOWERS)]
    for follower in followers:
        await follower.follow("loud")
        await follower.read_until(b"cell.finished")
    cell = await session.submit(
        f"import sys\nfor i in range({lines}): sys.stdout.write(f'{{i}}\\n'); sys.stdout.flush()"
    )
    started = perf_counter()
    async with asyncio.timeout(STEP_SECONDS):
        counts = await asyncio.gather(*(follower.read_until(b'"cell.finished"') for follower in followers))
    seconds = perf_counter() - started
    await cell.outcome()
    for follower in followers:
        await follower.aclose()
    note = f"{min(counts)} to {max(counts)} events each"
    return Row(f"events to {FOLLOWERS} followers", Figure("gateway", sum(counts) / seconds, "events/s"), note=note)


async def _idle(lab: Lab, cluster: skep.EmbeddedCluster, gateway: Gateway) -> Row:
    count = lab.pick(IDLE, 200)
    sessions = lab.pick(100, 20)
    redis = cluster._link.redis
    for number in range(sessions):
        await cluster.session(f"idle-{number}").run("1")
    before = await _connections(redis)
    memory = pss_megabytes(gateway.pid)
    followers: list[Connection] = []
    for start in range(0, count, AT_ONCE):
        new = [await gateway.connect() for _ in range(min(AT_ONCE, count - start))]
        await asyncio.gather(*(each.follow(f"idle-{(start + place) % sessions}") for place, each in enumerate(new)))
        await asyncio.gather(*(each.read_until(b"cell.finished") for each in new))
        followers += new
    grown = pss_megabytes(gateway.pid) - memory
    more = await _connections(redis) - before
    for follower in followers:
        await follower.aclose()
    goals = (
        Goal("connections to Redis", more, 32),
        Goal("kB a follower", grown * 1000 / count, 100),
    )
    what = f"{count} idle followers of {sessions} sessions"
    note = f"{more} more connections to Redis, {grown * 1000 / count:.0f} kB a follower"
    return Row(what, Figure("gateway", grown, "MB"), goals=goals, note=note)


async def _connections(redis: object) -> int:
    return len(await redis.client_list())  # type: ignore[attr-defined]
