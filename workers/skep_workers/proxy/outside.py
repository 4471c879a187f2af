"""The way to servers: resolves a name once, checks every address, and connects to one that it has checked.

The connection is made to the address, not to the name: a second resolution could have another answer (DNS rebinding).
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from skep_shared.isolation.internet_addresses import Address, InternalNetworks, parse_address, reason_against
from skep_workers.proxy.permissions import MAX_LOOKUPS, PermittedSession
from skep_workers.proxy.request_head import BadRequest

LOOKUP_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 10.0  # for all addresses of a name together
ADDRESS_SECONDS: Final = 5.0  # for one of several
MAX_ADDRESSES: Final = 16  # of a name
_THREADS: Final = 32

LookUp = Callable[[str, int], list[str]]
Connect = Callable[[Address, int], Awaitable[socket.socket]]


class Refused(Exception):
    """A host that the session may not connect to; the message says why, and what to do."""


class Outside:
    """Connects to servers."""

    def __init__(self, look_up: LookUp | None = None, connect: Connect | None = None) -> None:
        """`look_up` blocks and returns the addresses of a name, or raises OSError; `connect` connects to one."""
        self._look_up = look_up or look_up_by_system
        self._connect = connect or connect_to
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="lookup")
        self.internal: InternalNetworks = ()

    def close(self) -> None:
        """End the threads that do nothing; the others end when their names are resolved."""
        self._threads.shutdown(wait=False)

    async def open(self, session: PermittedSession, name: str, port: int) -> socket.socket:
        """Return a connection to a permitted name. Raises Refused, BadRequest."""
        addresses = await self._addresses(session, name, port)
        reasons = {address: reason_against(address, self.internal) for address in addresses}
        permitted = [address for address, reason in reasons.items() if not reason]
        if not permitted:
            address, reason = next(iter(reasons.items()))
            advice = "only public ones are permitted; an operator may add private networks (SKEP_NETWORK_INTERNAL)"
            raise Refused(f"it leads to {reason}, {address}; {advice}")
        return await self._open_one_of(permitted, name, port)

    async def _open_one_of(self, addresses: list[Address], name: str, port: int) -> socket.socket:
        failure = BadRequest(504, f"no answer from {name}:{port} within {CONNECT_SECONDS:g} s")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                for address in addresses:
                    try:
                        async with asyncio.timeout(ADDRESS_SECONDS if len(addresses) > 1 else None):
                            return self._checked(await self._connect(address, port), address)
                    except TimeoutError:
                        continue
                    except OSError as exc:
                        failure = BadRequest(502, f"no connection to {name}:{port}: {exc.strerror or exc}")
        raise failure

    def _checked(self, sock: socket.socket, address: Address) -> socket.socket:
        """Return the connection, unless it has led to this machine by one of its public addresses."""
        is_internal = any(address in network for network in self.internal)
        try:
            if not is_internal and sock.getsockname()[0] == sock.getpeername()[0]:
                raise Refused(f"it leads to this machine itself, {address}")
        except BaseException:
            sock.close()
            raise
        return sock

    async def _addresses(self, session: PermittedSession, name: str, port: int) -> list[Address]:
        if session.lookups >= MAX_LOOKUPS:
            raise BadRequest(503, f"{MAX_LOOKUPS} names of this session are being resolved: try again later")
        session.lookups += 1
        found = asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, name, port)
        found.add_done_callback(lambda _: _count_down(session))
        await asyncio.wait({found}, timeout=LOOKUP_SECONDS)
        if not found.done():
            found.add_done_callback(lambda late: late.cancelled() or late.exception())  # its client waits no more
            raise BadRequest(504, f"{name} could not be resolved within {LOOKUP_SECONDS:g} s")
        try:
            return [parse_address(text) for text in dict.fromkeys(found.result())][:MAX_ADDRESSES]
        except (OSError, UnicodeError, ValueError) as exc:
            raise BadRequest(502, f"{name} could not be resolved: {exc}") from exc


def _count_down(session: PermittedSession) -> None:
    session.lookups -= 1


def look_up_by_system(name: str, port: int) -> list[str]:
    """Return the addresses of a name. Raises OSError."""
    return [str(found[4][0]) for found in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)]


async def connect_to(address: Address, port: int) -> socket.socket:
    """Return a connection to exactly this address. Raises OSError."""
    sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
    except BaseException:
        sock.close()
        raise
    return sock
