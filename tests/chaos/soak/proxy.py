"""A connection to Redis that fails on demand: a TCP port for one client process, in front of the server's unix socket.

A link reads the requests that pass through it and identifies scripts by their sha. Its ruler can lose a request or a
reply, or do something to the sender, at exactly that step. The product has no hooks for it.
"""

import asyncio
import contextlib
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import hiredis

from skep_shared.broker.retention_scripts import RetentionScripts
from skep_shared.broker.scripts import Scripts

READ_BYTES: Final = 256 * 1024
LATENCY_SECONDS: Final = 0.2
SLICE_BYTES: Final = 16 * 1024
SLOW_BYTES_PER_SECOND: Final = 10_000_000 // 8
_SOURCES: Final = [*Scripts.sources.values(), *RetentionScripts.sources.values()]
_NAMES: Final = {known.encode(): source.name for source in _SOURCES for known in (source.sha, source.text)}
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closed at once, with RST


@dataclass(slots=True)
class Request:
    """One command on its way."""

    words: list[bytes]
    name: str = ""

    def __post_init__(self) -> None:
        """Name it: a script by its file, chunks of checkpoints `blobs`, others by their command."""
        words = self.words
        command = words[0].decode().lower()
        self.name = command
        if command in {"evalsha", "eval"}:
            self.name = _NAMES.get(words[1], command)
        elif command == "hset" and words[1].endswith(b":blobs"):
            self.name = "blobs"


@dataclass(frozen=True, slots=True)
class Fate:
    """The fate of requests that were sent together.

    reset: the connection breaks before they are sent on. lose: they vanish, with all that
    follows on the connection, which stays. half: only their
    first half arrives. drop: they are applied, and the connection breaks in place of the replies. hold_seconds: how
    long they wait in front of the server. then: called when the replies are there, before they are passed on.
    """

    kind: Literal["pass", "reset", "lose", "half", "drop"] = "pass"
    hold_seconds: float = 0.0
    then: Callable[[], None] | None = None


PASS: Final = Fate()


class Ruler:
    """Decides what happens to requests; this one lets all of them pass."""

    def fate(self, link: "Link", requests: list[Request]) -> Fate:
        """Return the fate of requests that were sent together."""
        return PASS

    def on_reply(self, link: "Link", request: Request, reply: Any) -> None:
        """Observe a reply, whether or not it will be passed on."""


class Link:
    """One process's connections to Redis; `name` is the name of the process."""

    def __init__(self, name: str, socket_path: Path, ruler: Ruler) -> None:
        self.name = name
        self.ruler = ruler
        self._socket_path = socket_path
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cut_until = self._late_until = self._slow_until = self._free_at = 0.0
        self._is_closed = False
        self._healed = asyncio.Event()
        self.url = ""

    @property
    def is_used(self) -> bool:
        """Return whether any connection is open."""
        return bool(self._connections)

    async def open(self) -> None:
        """Listen; `url` is where."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=READ_BYTES, backlog=512)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"redis://{host}:{port}/0"

    async def close(self) -> None:
        """Break every connection and stop listening."""
        self._is_closed = True
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # broken connections are closed now

    def cut(self, seconds: float) -> None:
        """Block both directions; data on its way arrives afterwards."""
        self._cut_until = time.monotonic() + seconds

    def delay(self, seconds: float) -> None:
        """Delay everything, for this long."""
        self._late_until = time.monotonic() + seconds

    def slow_down(self, seconds: float) -> None:
        """Limit the bytes per second, for this long."""
        self._slow_until = time.monotonic() + seconds

    def reset(self) -> int:
        """Break every connection; return their number."""
        for connection in list(self._connections):
            connection.break_off()
        return len(self._connections)

    def heal(self) -> None:
        """End all faults."""
        self._cut_until = self._late_until = self._slow_until = 0.0
        self._healed.set()
        self._healed = asyncio.Event()

    async def pass_through(self, size: int, *, is_request: bool) -> None:
        """Wait as long as this many bytes take."""
        while (now := time.monotonic()) < self._cut_until:
            await self.wait(self._cut_until - now)
        while size > 0 and now < self._slow_until:  # a slice at a time: connections share the bandwidth
            self._free_at = max(now, self._free_at) + min(size, SLICE_BYTES) / SLOW_BYTES_PER_SECOND
            await self.wait(self._free_at - now)
            size -= SLICE_BYTES
            now = time.monotonic()
        if is_request and now < self._late_until:
            await self.wait(LATENCY_SECONDS)

    async def wait(self, seconds: float) -> None:
        """Wait this long, or until the faults end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._healed.wait()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_closed:  # it was on its way
            _break(writer)
            return
        task = asyncio.get_running_loop().create_task(self._serve((reader, writer)), name=f"connection of {self.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: _break(writer))  # it may be cancelled before it has begun

    async def _serve(self, client: "Pair") -> None:
        try:
            server = await asyncio.open_unix_connection(str(self._socket_path), limit=READ_BYTES)
        except OSError:
            return
        connection = _Connection(self, client, server)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(eq=False)
class _Connection:
    """One connection of a link, and its other half to the server."""

    link: Link
    client: Pair
    server: Pair
    expected: deque[tuple[Request, Fate]] = field(default_factory=deque)
    is_dropping: bool = False
    is_losing: bool = False

    async def run(self) -> None:
        """Forward both directions, until one side ends or the connection is to break."""
        halves = [asyncio.ensure_future(half) for half in (self._carry_requests(), self._carry_replies())]
        try:
            await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
            # When either side has ended, the end is forwarded to the other like any data.
            await self.link.pass_through(0, is_request=False)
        finally:
            self.break_off()  # first: closing the link may cancel the wait after it
            for half in halves:
                half.cancel()
            await asyncio.gather(*halves, return_exceptions=True)

    def break_off(self) -> None:
        """Break both halves at once."""
        _break(self.client[1])
        _break(self.server[1])

    async def _carry_requests(self) -> None:
        reader, parser = self.client[0], hiredis.Reader()
        data = b""
        requests: list[Request] = []
        while part := await _read(reader):
            data += part
            parser.feed(part)
            while (words := parser.gets()) is not False:
                requests.append(Request(words))
            if parser.has_data():
                continue
            fate = self.link.ruler.fate(self.link, requests)
            if fate.kind == "reset":
                return
            await self.link.wait(fate.hold_seconds) if fate.hold_seconds else None
            await self.link.pass_through(len(data), is_request=True)
            # A stream loses nothing from its middle: after lost data everything is lost, until the connection is given up.
            self.is_losing = self.is_losing or fate.kind == "lose"
            if not self.is_losing and not await self._send(data, requests, fate):
                return
            data, requests = b"", []

    async def _send(self, data: bytes, requests: list[Request], fate: Fate) -> bool:
        if fate.kind == "half":
            data = data[: len(data) // 2]
        elif fate.kind == "drop":
            self.is_dropping = True
        self.expected += [(request, PASS) for request in requests[:-1]]
        self.expected.append((requests[-1], fate))
        return await _write(self.server[1], data) and fate.kind != "half"

    async def _carry_replies(self) -> None:
        reader, parser = self.server[0], hiredis.Reader()
        while data := await _read(reader):
            parser.feed(data)
            while (reply := parser.gets()) is not False and self.expected:
                request, fate = self.expected.popleft()
                self.link.ruler.on_reply(self.link, request, reply)
                if fate.then is not None:
                    fate.then()
            if self.is_dropping:
                if not self.expected:
                    return
                continue
            await self.link.pass_through(len(data), is_request=False)
            if not await _write(self.client[1], data):
                return


async def _read(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(OSError):
        return await reader.read(READ_BYTES)
    return b""


async def _write(writer: asyncio.StreamWriter, data: bytes) -> bool:
    with contextlib.suppress(OSError):
        writer.write(data)
        await writer.drain()
        return True
    return False


def _break(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_INET:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
