"""Serves connections of sessions: reads what each asks for, decides, and connects it or says why not.

A connection is counted before its client has shown any credentials, by the address that it comes from: sockets of
sessions have addresses of their own (see socket_supply.py). So no session can keep the others out.
"""

import asyncio
import contextlib
import socket
from asyncio import IncompleteReadError, LimitOverrunError, StreamReader, StreamWriter
from collections.abc import Callable
from typing import Final

from skep_shared.isolation.network import DEFAULT_PORTS, host_name
from skep_workers.proxy.outside import Outside, Refused
from skep_workers.proxy.permissions import MAX_CONNECTIONS, MAX_HOST_CHARS, Permissions, PermittedSession
from skep_workers.proxy.relay import BUFFER_BYTES, Connection, relay
from skep_workers.proxy.request_head import MAX_HEAD_BYTES, BadRequest, RequestHead, parse_head

HEAD_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 5.0  # for a client to take an answer of the proxy's own
MAX_CLIENTS: Final = 4096
BACKLOG: Final = 512
_END_OF_HEAD: Final = b"\r\n\r\n"
_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
_NO_CREDENTIALS: Final = (
    "the proxy's credentials are missing or out of date: use the URL in the environment variable https_proxy, and read "
    "it again after the session has moved to another worker"
)

# Receives the session's key, the host, the port and the reason of a refusal.
OnRefusal = Callable[[int, str, int, str], None]


class ProxyServer:
    """Serves the connections of a listening socket."""

    def __init__(
        self, permissions: Permissions, outside: Outside, on_refusal: OnRefusal, max_clients: int = MAX_CLIENTS
    ) -> None:
        """`max_clients`: connections at a time; further ones are closed at once."""
        self._max_clients = max_clients
        self._permissions = permissions
        self._outside = outside
        self._on_refusal = on_refusal
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._by_address: dict[str, int] = {}

    async def listen(self, listening: socket.socket) -> None:
        """Serve this socket."""
        listening.setblocking(False)
        self._server = await asyncio.start_server(self._accept, sock=listening, limit=MAX_HEAD_BYTES, backlog=BACKLOG)

    async def close(self) -> None:
        """Accept no more connections, and end all."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        client = Connection(reader, writer)
        if len(self._tasks) >= self._max_clients:
            client.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve_client(client), name="client")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_client(self, client: Connection) -> None:
        address = str(client.writer.get_extra_info("peername")[0])
        self._by_address[address] = self._by_address.get(address, 0) + 1
        try:
            await self._serve(client, is_one_too_many=self._by_address[address] > MAX_CONNECTIONS)
        except OSError:
            pass  # the client is gone
        finally:
            client.abort()
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    async def _serve(self, client: Connection, *, is_one_too_many: bool) -> None:
        session: PermittedSession | None = None
        head: RequestHead | None = None
        try:
            if is_one_too_many:
                raise BadRequest(503, f"a session has at most {MAX_CONNECTIONS} connections at a time")
            head = await _read_head(client.reader)
            session = self._permissions.find(head.password)
            if session is None:
                raise BadRequest(407, _NO_CREDENTIALS)
            with session.owning(client.abort):
                await self._connect(session, head, client)
        except BadRequest as exc:
            await _answer(client, exc.status, exc.reason)
        except Refused as exc:
            assert session is not None and head is not None  # noqa: PT018, S101 - raised after both were set
            host = head.host[:MAX_HOST_CHARS]
            if session.refusals.admits(host, head.port):
                self._on_refusal(session.key, host, head.port, str(exc))
            await _answer(client, 403, f"{host}:{head.port} is refused: {exc}")

    async def _connect(self, session: PermittedSession, head: RequestHead, client: Connection) -> None:
        name = host_name(head.host)
        if name is None:
            raise Refused("only host names of the session's allow-list are permitted, not addresses")
        if not session.admits(name, head.port):
            where = name if head.port in DEFAULT_PORTS else f"{name}:{head.port}"
            raise Refused(
                f"it is not in the session's allow-list; the session's creator adds {where!r} to "
                "SessionOptions.allowed_hosts, or the worker's operator to SKEP_NETWORK_HOSTS"
            )
        sock = await self._outside.open(session, name, head.port)
        server = Connection(*await asyncio.open_connection(sock=sock, limit=BUFFER_BYTES))
        with session.owning(server.abort):
            if head.is_tunnel:
                client.writer.write(_ESTABLISHED)
            else:
                server.writer.write(head.onward)
            await relay(client, server)


async def _read_head(reader: StreamReader) -> RequestHead:
    try:
        async with asyncio.timeout(HEAD_SECONDS):
            return parse_head(await reader.readuntil(_END_OF_HEAD))
    except TimeoutError:
        raise BadRequest(408, f"no complete request within {HEAD_SECONDS:g} s") from None
    except LimitOverrunError:
        raise BadRequest(431, f"the request's head has more than {MAX_HEAD_BYTES} bytes") from None
    except IncompleteReadError as exc:
        raise ConnectionResetError("the client has ended the connection") from exc


async def _answer(client: Connection, status: int, reason: str) -> None:
    """Answer in the proxy's own name. The reason is in the status line too: most clients show that of a CONNECT only.

    What the client still sends is read and dropped: closing a connection with unread bytes would destroy the answer.
    """
    text = "".join(char if " " <= char <= "~" else "?" for char in reason)
    body = f"skep: {text}\n".encode()
    asks = 'Proxy-Authenticate: Basic realm="skep"\r\n' if status == 407 else ""
    head = f"HTTP/1.1 {status} {text}\r\n{asks}Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    client.writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
    with contextlib.suppress(TimeoutError, ValueError):
        async with asyncio.timeout(ANSWER_SECONDS):
            client.writer.write_eof()
            while await client.reader.read(BUFFER_BYTES):
                pass
