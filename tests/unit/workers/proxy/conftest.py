"""A proxy with names and addresses of a test's own, and servers that stand for those of the internet."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

import pytest

from skep_workers.proxy.outside import Outside
from skep_workers.proxy.permissions import Permissions, digest_of
from skep_workers.proxy.server import ProxyServer

TOKEN = "token-of-the-session"
KEY = 7


@dataclass
class Internet:
    """The names that exist, and where their addresses lead on this machine; what was asked for is recorded."""

    names: dict[str, list[str]] = field(default_factory=dict)
    routes: dict[tuple[str, int], int] = field(default_factory=dict)
    source: str = "127.0.0.2"
    looked_up: list[str] = field(default_factory=list)
    connected: list[tuple[str, int]] = field(default_factory=list)

    def look_up(self, name, port):
        self.looked_up.append(name)
        if name not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.names[name]

    async def connect(self, address, port):
        self.connected.append((str(address), port))
        if (str(address), port) not in self.routes:
            raise ConnectionRefusedError(111, "Connection refused")
        made = socket.socket()
        made.setblocking(False)
        made.bind((self.source, 0))  # a connection from 127.0.0.1 would be one to the same machine
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", self.routes[str(address), port]))
        return made


@dataclass
class Proxy:
    """A running proxy. refused: its reports."""

    port: int
    permissions: Permissions
    internet: Internet
    outside: Outside
    refused: list[tuple[int, str, int, str]]
    _stack: AsyncExitStack

    async def open(self):
        """Return a connection to it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._stack.push_async_callback(self._end, writer)
        return reader, writer

    async def _end(self, writer):
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()

    async def ask(self, *lines, credentials=TOKEN, body=b""):
        """Send a head with these lines, and the body; return the connection and the head of the answer."""
        reader, writer = await self.open()
        encoded = base64.b64encode(f"skep:{credentials}".encode()).decode()
        own = [f"Proxy-Authorization: Basic {encoded}"] if credentials is not None else []
        writer.write("".join(f"{line}\r\n" for line in (*lines, *own, "")).encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        return reader, writer, answer

    async def status(self, *lines, credentials=TOKEN):
        """Return the status line of the answer, and end the connection."""
        _, writer, answer = await self.ask(*lines, credentials=credentials)
        await self._end(writer)
        return answer.partition("\r\n")[0]

    async def serve(self, name, address, port, handle):
        """Make a name lead to a server that handles connections with this coroutine function."""
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        self._stack.push_async_callback(server.wait_closed)
        self._stack.callback(server.close)
        self.internet.names.setdefault(name, []).append(address)
        self.internet.routes[address, port] = server.sockets[0].getsockname()[1]


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """A proxy that permits one session, with TOKEN, to connect to example.org and *.example.com."""
    internet, permissions, refused = Internet(), Permissions(), []
    permissions.permit(KEY, digest_of(TOKEN), ["example.org", "*.example.com", "example.net:22"])
    outside = Outside(internet.look_up, internet.connect)
    server = ProxyServer(permissions, outside, lambda *refusal: refused.append(refusal))
    listening = socket.create_server(("127.0.0.1", 0))
    await server.listen(listening)
    async with AsyncExitStack() as stack:
        stack.callback(outside.close)
        stack.push_async_callback(server.close)
        yield Proxy(listening.getsockname()[1], permissions, internet, outside, refused, stack)
