"""One connection to Redis that many callers share: the way of the commands that every cell costs.

The client library takes a connection out of its pool for each command, looks whether it is sound, sends, waits for the
reply and puts it back; that costs more than everything else that a client does for a cell. Here commands go out as they
come, and replies, which come in the same order, find who waits for them. The library still opens the connection, so
that TLS, credentials and Sentinel work as everywhere.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from skep_shared.connection import Master
from skep_shared.redis_errors import is_demotion

MAX_COMMAND_BYTES: Final = 64 * 1024  # a longer one would hold up those behind it


class Commands(Protocol):
    """What runs a command: a lane, or a client of the library."""

    async def execute_command(self, *args: Any) -> Any:
        """Give the reply. Raises the driver's errors."""


class Lane:
    """A connection of its own with the settings of `redis`, opened with the first command, and again once it broke.

    A command that is cancelled may still be carried out. One that waits for a reply for longer than `timeout_seconds`
    breaks the connection, and with it every other command on it: a server that is frozen answers none.
    """

    def __init__(self, redis: Redis, timeout_seconds: float) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._opening = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._replies: _Replies | None = None

    async def execute_command(self, *args: Any) -> Any:
        """Give the reply. Raises the driver's errors, as its own `execute_command` does."""
        packed = hiredis.pack_command(args)
        if len(packed) > MAX_COMMAND_BYTES:
            return await self._redis.execute_command(*args)
        replies = self._replies
        if replies is None or replies.is_of_no_use:
            replies = await self._open()
        return await replies.send(packed)

    def abort(self) -> None:
        """Break the connection: what waits on it ends with ConnectionError."""
        if self._replies is not None:
            self._replies.end(RedisConnectionError("the connection was given up"))

    async def aclose(self) -> None:
        """Close the connection; a later command would open another one."""
        self.abort()
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(RedisError, OSError):
                await connection.disconnect()

    async def _open(self) -> "_Replies":
        async with self._opening:
            if self._replies is not None and not self._replies.is_of_no_use:
                return self._replies  # somebody else was faster
            await self.aclose()
            connection = self._connection = self._redis.connection_pool.make_connection()
            await connection.connect()
            # The library reads replies one command at a time; from here on they are read as they come.
            writer = connection._writer  # noqa: SLF001 - it has no public name, and its major version is pinned
            if writer is None:
                raise RedisConnectionError("the connection was closed as soon as it was opened")
            transport = writer.transport
            self._replies = _Replies(transport, connection, self._timeout_seconds)
            transport.set_protocol(self._replies)
            return self._replies


class _Replies(asyncio.Protocol):
    """Hands what Redis answers to whoever waits for it, in order, until the connection ends."""

    def __init__(
        self, transport: asyncio.WriteTransport, connection: AbstractConnection, timeout_seconds: float
    ) -> None:
        make_error: Callable[[str], Exception] = connection._parser.parse_error  # noqa: SLF001 - it has no public name
        self._hear: Callable[[BaseException], None] = getattr(connection, "hear", lambda _: None)
        self._master: Master = getattr(connection, "master", None) or Master()
        self._opened_at: float = getattr(connection, "opened_at", time.monotonic())
        self._transport = transport
        self._before: Any = transport.get_protocol()
        self._timeout_seconds = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._parser = hiredis.Reader(protocolError=InvalidResponse, replyError=make_error)
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.has_ended = False

    @property
    def is_of_no_use(self) -> bool:
        """Tell whether a new connection is needed: this one has ended, or its server may be no master any more."""
        return self.has_ended or self._opened_at <= self._master.demoted_at

    def send(self, packed: bytes) -> asyncio.Future[Any]:
        """Send a command; gives the reply to come."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.has_ended or self._transport.is_closing():
            future.set_exception(RedisConnectionError("the connection is closed"))
            return future
        now = self._loop.time()
        self._waiting.append((future, now))
        if self._timer is None:
            self._timer = self._loop.call_at(now + self._timeout_seconds, self._look_for_late_ones)
        self._transport.write(packed)
        return future

    def data_received(self, data: bytes) -> None:
        """Hand out the replies that are complete."""
        try:
            self._parser.feed(data)
            while (reply := self._parser.gets()) is not False:
                future, _ = self._waiting.popleft()
                if isinstance(reply, Exception):
                    self._hear(reply)
                    if is_demotion(reply):  # another connection finds the new master
                        self._transport.close()
                        self.has_ended = True
                    if not future.done():
                        future.set_exception(reply)
                elif not future.done():
                    future.set_result(reply)
        except (InvalidResponse, IndexError) as exc:
            self.end(RedisConnectionError(f"the server does not speak Redis' protocol ({type(exc).__name__})"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        self._give_up(RedisConnectionError(f"the connection to Redis was lost: {exc or 'the server closed it'}"))
        self._before.connection_lost(exc)  # the library waits for this when it closes its connection

    def end(self, exc: RedisError) -> None:
        """Break the connection, and have everybody who waits know why."""
        self._transport.abort()
        self._give_up(exc)

    def _give_up(self, exc: RedisError) -> None:
        self.has_ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, deque()
        for future, _ in waiting:
            if not future.done():
                future.set_exception(exc)
                future.exception()  # seen: who was to wait for it may be gone

    def _look_for_late_ones(self) -> None:
        self._timer = None
        if self._waiting:
            due = self._waiting[0][1] + self._timeout_seconds
            if self._loop.time() >= due:
                self.end(RedisTimeoutError(f"Redis has not answered for {self._timeout_seconds:g} s"))
            else:
                self._timer = self._loop.call_at(due, self._look_for_late_ones)
