"""Passes bytes between two connections until both have ended, within limits of time and memory."""

import asyncio
from asyncio import StreamReader, StreamWriter
from typing import Final, NamedTuple

BUFFER_BYTES: Final = 64 * 1024  # for each direction; beyond that, the sender waits
IDLE_SECONDS: Final = 300.0  # without a byte in either direction
HALF_CLOSED_SECONDS: Final = 30.0  # the same, after one side has ended
LIFETIME_SECONDS: Final = 6 * 3600.0
_COARSE_SECONDS: Final = 1.0  # the deadline is not moved for each of many small parts


class Connection(NamedTuple):
    """Both directions of a connection."""

    reader: StreamReader
    writer: StreamWriter

    async def close(self) -> None:
        """End it when everything is sent. Raises OSError."""
        self.writer.close()
        await self.writer.wait_closed()

    def abort(self) -> None:
        """End it at once; what was not sent is lost."""
        self.writer.transport.abort()


class IdleLimit:
    """The deadline of two connections, moved when bytes pass."""

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self._timeout = timeout
        self._seconds = IDLE_SECONDS
        self._loop = asyncio.get_running_loop()
        self._moved_at = self._loop.time()

    def bytes_passed(self) -> None:
        """Move the deadline."""
        now = self._loop.time()
        if now - self._moved_at >= _COARSE_SECONDS:
            self._moved_at = now
            self._timeout.reschedule(now + self._seconds)

    def side_ended(self) -> None:
        """Wait less for the other side from now on."""
        self._seconds = HALF_CLOSED_SECONDS
        self._moved_at = self._loop.time()
        self._timeout.reschedule(self._moved_at + self._seconds)


async def relay(one: Connection, other: Connection) -> None:
    """Pass bytes in both directions until both sides have ended, or one of them fails or takes too long."""
    try:
        async with asyncio.timeout(LIFETIME_SECONDS), asyncio.timeout(IDLE_SECONDS) as timeout:
            idle = IdleLimit(timeout)
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(one.reader, other.writer, idle), name="to the server")
                group.create_task(_copy(other.reader, one.writer, idle), name="to the client")
            await one.close()
            await other.close()
    except* (OSError, TimeoutError):
        pass  # one side is gone; the other one notices by the end of its connection
    finally:
        one.abort()
        other.abort()


async def _copy(reader: StreamReader, writer: StreamWriter, idle: IdleLimit) -> None:
    while data := await reader.read(BUFFER_BYTES):
        writer.write(data)
        await writer.drain()
        idle.bytes_passed()
    if writer.can_write_eof():
        writer.write_eof()
    idle.side_ended()
