"""One pipelined connection to Redis that many callers share, for the commands that every cell needs.

For each command the driver takes a connection out of its pool, checks it, sends, waits for the reply and returns the
connection; that costs more than everything else that a client does for a cell. Here commands are sent at once, and
replies, which arrive in the same order, are handed to their callers. The driver still opens the connection, so that
TLS, credentials and Sentinel work as everywhere else.
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

from skep_shared.broker.redis_client.connection import Master
from skep_shared.broker.redis_client.redis_errors import is_demotion

MAX_COMMAND_BYTES: Final = 64 * 1024  # a longer command would delay the ones after it


class Commands(Protocol):
    """Runs commands: a lane, or a client of the driver."""

    async def execute_command(self, *args: Any) -> Any:
        """Return the reply. Raises the driver's errors."""


class Lane:
    """A connection with the settings of `redis`, opened by the first command, and again after it broke.

    A cancelled command may still be executed. A command that waits longer than `timeout_seconds` for its reply breaks
    the connection, and with it every other command on it: a frozen server answers none of them.
    """

    def __init__(self, redis: Redis, timeout_seconds: float) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._opening = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._replies: _Replies | None = None

    async def execute_command(self, *args: Any) -> Any:
        """Return the reply. Raises the driver's errors, as its own `execute_command` does."""
        packed = hiredis.pack_command(args)
        if len(packed) > MAX_COMMAND_BYTES:
            return await self._redis.execute_command(*args)
        replies = self._replies
        if replies is None or replies.is_unusable:
            replies = await self._open()
        return await replies.send(packed)

    def post(self, *args: Any) -> asyncio.Future[Any] | None:
        """Send a command at once and return the future reply; None, and nothing is sent, without an open connection."""
        replies = self._replies
        if replies is None or replies.is_closed:
            return None
        return replies.send(hiredis.pack_command(args))

    def abort(self) -> None:
        """Break the connection: commands that wait on it end with ConnectionError."""
        if self._replies is not None:
            self._replies.end(RedisConnectionError("the connection was given up"))

    async def aclose(self) -> None:
        """Close the connection; a later command would open a new one."""
        self.abort()
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(RedisError, OSError):
                await connection.disconnect()

    async def _open(self) -> "_Replies":
        async with self._opening:
            if self._replies is not None and not self._replies.is_unusable:
                return self._replies  # another caller has opened it
            await self.aclose()
            connection = self._connection = self._redis.connection_pool.make_connection()
            await connection.connect()
            # The driver reads replies one command at a time; from here on they are read when they arrive.
            writer = connection._writer  # noqa: SLF001 - it has no public name; redis-py 5 to 8 have it
            if writer is None:
                raise RedisConnectionError("the connection was closed as soon as it was opened")
            transport = writer.transport
            self._replies = _Replies(transport, connection, self._timeout_seconds)
            transport.set_protocol(self._replies)
            return self._replies


class _Replies(asyncio.Protocol):
    """Hands replies to the callers that wait for them, in order, until the connection ends."""

    def __init__(
        self, transport: asyncio.WriteTransport, connection: AbstractConnection, timeout_seconds: float
    ) -> None:
        make_error: Callable[[str], Exception] = connection._parser.parse_error  # noqa: SLF001 - it has no public name
        self._note_error: Callable[[BaseException], None] = getattr(connection, "note_error", lambda _: None)
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
    def is_unusable(self) -> bool:
        """Return whether a new connection is needed: this one has ended, or its server may not be the master now."""
        return self.is_closed or self._opened_at <= self._master.demoted_at

    @property
    def is_closed(self) -> bool:
        """Return whether nothing can be sent. The transport shows an end before `connection_lost` is called."""
        return self.has_ended or self._transport.is_closing()

    def send(self, packed: bytes) -> asyncio.Future[Any]:
        """Send a command and return the future reply."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.is_closed:
            future.set_exception(RedisConnectionError("the connection is closed"))
            return future
        now = self._loop.time()
        self._waiting.append((future, now))
        if self._timer is None:
            self._timer = self._loop.call_at(now + self._timeout_seconds, self._check_deadline)
        self._transport.write(packed)
        return future

    def data_received(self, data: bytes) -> None:
        """Hand the complete replies to their callers."""
        try:
            self._parser.feed(data)
            while (reply := self._parser.gets()) is not False:
                future, _ = self._waiting.popleft()
                if isinstance(reply, Exception):
                    self._note_error(reply)
                    if is_demotion(reply):  # another connection finds the new master
                        self._transport.close()
                        self.has_ended = True
                    if not future.done():
                        future.set_exception(reply)
                elif not future.done():
                    future.set_result(reply)
        except (InvalidResponse, IndexError) as exc:
            self.end(RedisConnectionError(f"the server does not speak Redis's protocol ({type(exc).__name__})"))

    def connection_lost(self, exc: Exception | None) -> None:
        """End all waiting commands with an error."""
        self._fail_waiting(RedisConnectionError(f"the connection to Redis was lost: {exc or 'the server closed it'}"))
        self._before.connection_lost(exc)  # the driver waits for this when it closes its connection

    def end(self, exc: RedisError) -> None:
        """Break the connection, and end all waiting commands with this error."""
        self._transport.abort()
        self._fail_waiting(exc)

    def _fail_waiting(self, exc: RedisError) -> None:
        self.has_ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, deque()
        for future, _ in waiting:
            if not future.done():
                future.set_exception(exc)
                future.exception()  # retrieved: its caller may have been cancelled

    def _check_deadline(self) -> None:
        self._timer = None
        if self._waiting:
            due = self._waiting[0][1] + self._timeout_seconds
            if self._loop.time() >= due:
                self.end(RedisTimeoutError(f"Redis has not answered for {self._timeout_seconds:g} s"))
            else:
                self._timer = self._loop.call_at(due, self._check_deadline)
