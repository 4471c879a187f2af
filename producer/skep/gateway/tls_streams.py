"""Connections of httpcore whose TLS handshake may be cancelled, by a deadline or at the end of the gateway.

httpcore closes a connection whose handshake has failed, but not one whose handshake was cancelled: it remains open,
without a reference, until the garbage collector finds it.
"""

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore


class ClosingStream(httpcore.AsyncNetworkStream):
    """A connection that is closed however its TLS handshake fails."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return the next bytes, b"" at the end."""
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Return the connection with TLS. Raises ConnectError, ConnectTimeout."""
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._stream.aclose()  # its first step closes the socket, so another cancellation changes nothing
            raise

    def get_extra_info(self, info: str) -> Any:
        """Return the property of the connection with this name."""
        return self._stream.get_extra_info(info)


class ClosingNetwork(httpcore.AnyIOBackend):
    """Opens such connections."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect. Raises ConnectError, ConnectTimeout."""
        return ClosingStream(await super().connect_tcp(host, port, timeout, local_address, socket_options))
