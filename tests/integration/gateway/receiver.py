"""A real receiver of webhooks: it checks signatures, keeps what it accepts, and misbehaves when asked to."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass
class Received:
    """One request. message: its body."""

    headers: dict[str, str]
    message: dict[str, Any]
    path: str
    status: int

    @property
    def place(self) -> tuple[str, int]:
        """The session and the number of the event."""
        return self.message["data"]["session_id"], int(self.message["data"]["id"].partition("-")[0])


@dataclass
class Receiver:
    """Answers requests on one port. `answers`: of the next requests, then 200; "hang" answers nothing."""

    secret: str = ""
    answers: deque[int | str] = field(default_factory=deque)
    always: int | str = 200
    requests: list[Received] = field(default_factory=list)
    location: str = ""
    hangs_for: str = ""  # a session
    tls: ssl.SSLContext | None = None
    port: int = 0
    connections: int = 0

    def __post_init__(self) -> None:
        self._news = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._release = asyncio.Event()

    async def start(self) -> Self:
        """Listen, on the port of before if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Close every connection at once, and listen no more."""
        assert self._server is not None
        self._server.close()
        self._release.set()
        for writer in list(self._open):
            writer.transport.abort()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://localhost:{self.port}/" if self.tls else f"http://127.0.0.1:{self.port}/hook?x=1"

    @property
    def accepted(self) -> list[tuple[str, int]]:
        """The places of accepted events, in the order of their arrival."""
        return [each.place for each in self.requests if each.status == 200]

    def of(self, session_id: str) -> list[int]:
        """Return the accepted events of one session."""
        return [number for sid, number in self.accepted if sid == session_id]

    async def until(self, holds: Callable[["Receiver"], Any]) -> None:
        """Wait until a condition holds; it is looked at after each request."""
        async with self._news:
            await self._news.wait_for(lambda: holds(self))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._answer(reader, writer):
                    pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        answer = self.answers.popleft() if self.answers else self.always
        if json.loads(body)["data"]["session_id"] == self.hangs_for:
            answer = "hang"
        if answer == 200 and not self._is_signed(headers, body):
            answer = 401
        async with self._news:
            status = answer if isinstance(answer, int) else 0
            self.requests.append(Received(headers, json.loads(body), head[0].split()[1], status))
            self._news.notify_all()
        if answer == "hang":
            await self._release.wait()
            return False
        if answer == "endless":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n" + b"x" * 100_000)
            await writer.drain()
            await self._release.wait()
            return False
        if answer == "cut":
            return False
        more = f"location: {self.location}\r\n" if self.location else ""
        writer.write(f"HTTP/1.1 {answer} Said\r\n{more}content-length: 2\r\n\r\nok".encode())
        await writer.drain()
        return True

    def _is_signed(self, headers: dict[str, str], body: bytes) -> bool:
        """Check as the specification of Standard Webhooks says, without skep's own code."""
        if not self.secret:
            return True
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return expected in headers["webhook-signature"].split()
