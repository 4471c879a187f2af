"""A proxy to Redis that can answer commands itself with any error, and can lead to another server or to none.

It reads requests one after the other, so that an error is in the place of the server's reply.
"""

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

import hiredis

READ_BYTES = 256 * 1024


@dataclass(eq=False)
class _Way:
    """One client's connection through the proxy, and the command that the server has not answered yet."""

    to_client: asyncio.StreamWriter
    to_server: asyncio.StreamWriter
    is_silent: bool = False
    waits_in: str = ""
    interrupted: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class AnsweringProxy:
    """Passes everything on to `target`, unless a test changes that."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.url = ""
        self.answered: Counter[str] = Counter()  # commands that this proxy has answered
        self._error: bytes | None = None
        self._only: frozenset[str] = frozenset()
        self._server: asyncio.Server | None = None
        self._ways: set[_Way] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Condition()

    async def start(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=READ_BYTES, backlog=512)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"
        return self

    async def close(self) -> None:
        """Break every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # broken connections are closed now

    def refuse(self, error: str, *commands: str) -> None:
        """Answer each command from now on (or these only) with this error; blocked ones at once."""
        self._error, self._only = f"-{error}\r\n".encode(), frozenset(commands)
        for way in self._ways:
            if way.waits_in and self._is_meant(way.waits_in) and not way.interrupted.done():
                way.interrupted.set_result(self._error)

    def heal(self) -> None:
        """Pass commands on again."""
        self._error = None

    def drop_silently(self) -> None:
        """Silently block both directions of the connections that are open now."""
        for way in self._ways:
            way.is_silent = True

    async def has_answered(self, count: int) -> None:
        """Wait until the proxy has answered this many commands itself."""
        async with self._news:
            await self._news.wait_for(lambda: self.answered.total() >= count)

    def _is_meant(self, command: str) -> bool:
        return not self._only or command in self._only

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):  # the test is over, or one side has closed
                await self._connect_through(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _connect_through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self.target, limit=READ_BYTES)
        way = _Way(writer, to_server)
        self._ways.add(way)
        try:
            await self._pass_on(way, reader, from_server)
        finally:
            self._ways.discard(way)
            to_server.transport.abort()

    async def _pass_on(self, way: _Way, from_client: asyncio.StreamReader, from_server: asyncio.StreamReader) -> None:
        requests = hiredis.Reader()
        while data := await from_client.read(READ_BYTES):
            requests.feed(data)
            while (words := requests.gets()) is not False:
                if way.is_silent:
                    continue
                answer = await self._answer(way, words, from_server)
                if way.is_silent:
                    continue
                if answer is None:
                    return
                way.to_client.write(answer)
                await way.to_client.drain()

    async def _answer(self, way: _Way, words: list[bytes], from_server: asyncio.StreamReader) -> bytes | None:
        """Return the reply to one command, the server's or the proxy's; None if the server has closed."""
        command = words[0].decode().upper()
        if self._error is None or not self._is_meant(command):
            way.to_server.write(hiredis.pack_command(tuple(words)))
            way.waits_in = command
            way.interrupted = asyncio.get_running_loop().create_future()
            reading = asyncio.ensure_future(_one_reply(from_server))
            try:
                await asyncio.wait({reading, way.interrupted}, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    return reading.result()
            finally:
                way.waits_in = ""
                if not reading.done():
                    reading.cancel()
                    with contextlib.suppress(asyncio.CancelledError, OSError):
                        await reading
            async with self._news:
                self.answered[command] += 1
                self._news.notify_all()
            # A later reply of the server would have no request any more: as with UNBLOCKED, the connection ends.
            way.to_client.write(way.interrupted.result())
            await way.to_client.drain()
            return None
        async with self._news:
            self.answered[command] += 1
            self._news.notify_all()
        return self._error


async def _one_reply(stream: asyncio.StreamReader) -> bytes | None:
    """Read the bytes of one reply; no further reply is outstanding."""
    reader, raw = hiredis.Reader(), bytearray()
    while True:
        data = await stream.read(READ_BYTES)
        if not data:
            return None
        raw += data
        reader.feed(data)
        reply: Any = reader.gets()
        if reply is not False:
            return bytes(raw)
