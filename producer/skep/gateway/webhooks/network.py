"""Connections to URLs that tenants name: only to public addresses, and to networks that the operator permits.

A name is resolved here and the connection is made to an address that was checked, so a name that resolves to another
address the next moment (DNS rebinding) gains nothing. TLS still checks the certificate for the name. Plain http is for
permitted networks only. Proxies of the environment are not used: they would resolve the name themselves.
"""

import asyncio
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpcore

from skep.gateway.tls_streams import ClosingNetwork
from skep_shared.errors import InvalidArgument
from skep_shared.isolation.internet_addresses import Address, InternalNetworks, parse_address, reason_against

RESOLVE_SECONDS: Final = 5.0
RESOLVERS: Final = 4  # threads; a name server that does not answer keeps one for a while
MOST_ADDRESSES: Final = 4  # of a name that are tried
_PORTS: Final = {"http": 80, "https": 443}


class AddressRefused(httpcore.ConnectError):
    """The host of a URL leads to no address that may be connected to; the text says why."""


class Addresses:
    """Resolves names, and refuses addresses; a context manager that owns the threads for it."""

    def __init__(self, internal: InternalNetworks) -> None:
        """`internal`: private networks that are permitted."""
        self._internal = internal
        self._threads = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="skep-webhook-resolver")

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Start no more lookups."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def resolve(self, host: str, port: int, *, is_plain: bool) -> list[str]:
        """Return the addresses of a host that may be connected to. Raises AddressRefused, without one.

        is_plain: whether the connection has no TLS.
        """
        loop = asyncio.get_running_loop()
        lookup = loop.run_in_executor(self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await lookup
        except TimeoutError:
            raise AddressRefused(f"the name {host} was not resolved within {RESOLVE_SECONDS:g} s") from None
        except (OSError, UnicodeError) as exc:
            raise AddressRefused(f"the name {host} can't be resolved: {exc}") from exc
        permitted, reasons = self._sort(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found), is_plain=is_plain)
        if not permitted:
            raise AddressRefused(f"{host} leads to {'; '.join(sorted(reasons)) or 'no address'}")
        return permitted[:MOST_ADDRESSES]

    async def check(self, url: str) -> None:
        """Raise InvalidArgument unless the URL leads to an address that may be connected to now."""
        parts = urlsplit(url)
        host, is_plain = parts.hostname or "", parts.scheme == "http"
        try:
            await self.resolve(host, parts.port or _PORTS[parts.scheme], is_plain=is_plain)
        except AddressRefused as exc:
            remedy = "the operator can permit private networks by SKEP_GATEWAY_WEBHOOK_INTERNAL"
            raise InvalidArgument("url", url, f"{exc}; only https to public addresses is permitted, {remedy}") from exc

    def _sort(self, found: Iterable[str], *, is_plain: bool) -> tuple[list[str], set[str]]:
        permitted, reasons = [], set()
        for text in found:
            address = parse_address(text)
            reason = reason_against(address, self._internal)
            if not reason and is_plain and not self._is_internal(address):
                reason = "a public address without TLS"
            if reason:
                reasons.add(reason)
            else:
                permitted.append(text)
        return permitted, reasons

    def _is_internal(self, address: Address) -> bool:
        return bool(reason_against(address)) and not reason_against(address, self._internal)


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Opens the connections of a pool of httpcore to checked addresses only."""

    def __init__(self, addresses: Addresses, *, is_plain: bool) -> None:
        self._addresses = addresses
        self._is_plain = is_plain
        self._network = ClosingNetwork()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of the host that answers. Raises AddressRefused and other errors of httpcore."""
        failure: Exception | None = None
        for address in await self._addresses.resolve(host, port, is_plain=self._is_plain):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
        raise httpcore.ConnectError(str(failure)) from failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Raise AddressRefused: no URL leads to a unix socket."""
        raise AddressRefused("a unix socket")

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)
