"""Connections to Redis for all parts of skep, set up in the one way that was measured to be safe.

- Every connection has a socket timeout: without one a frozen server hangs the caller forever. Blocking reads have
  their own client whose timeout is the BLOCK time plus a margin.
- Idle TCP connections are probed, so that a link which was dropped silently is detected before it is used.
- The driver's retry is off: it repeats plain writes. Scripts are safe to repeat, and their callers repeat them.
- RESP2 and bytes, so that all versions of Redis reply alike.
- Once a server reports that it is no master any more, no connection that was opened before is used again.
- A task can be cancelled while it starts or sends a command. The driver's own implementation can lose the cancellation.
- No error quotes the data that was sent.

It works with redis-py 5 to 8, including the private parts that are used here and in `lane`.
"""

import asyncio
import contextlib
import functools
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from skep_shared.broker.redis_client.redis_errors import is_demotion
from skep_shared.broker.redis_client.redis_url import (
    SCHEMES,
    check_options,
    read_sentinel_url,
    redacted,
    why_unreadable,
)
from skep_shared.errors import InvalidArgument
from skep_shared.foreign_errors import without_payload
from skep_shared.settings import Settings

BLOCK_MARGIN_SECONDS: Final = 2.0
READ_BYTES: Final = 256 * 1024  # largest read at once: half a chunk of state
# Load balancers drop a connection that was silent for some minutes. A dead peer is detected after a minute.
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


def open_redis(settings: Settings, *, blocking: bool = False, client_class: type[Redis] = Redis) -> Redis:
    """Return a client of `settings.redis_url`; no I/O yet.

    A `blocking` client is for reads that wait up to `settings.block_seconds`. Raises InvalidArgument for an unreadable
    URL, or for an option that would break the client.
    """
    timeout = settings.command_timeout_seconds
    if blocking:
        timeout = settings.block_seconds + BLOCK_MARGIN_SECONDS
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_read_size": READ_BYTES,
        "socket_connect_timeout": settings.connect_timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "protocol": 2,
        "max_connections": settings.max_connections,
    }
    url = settings.redis_url
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise InvalidArgument("redis_url", redacted(url), f"one of {', '.join(s + '://' for s in SCHEMES)} is needed")
    if scheme == "rediss" and "ssl_check_hostname=" not in url and "ssl_cert_reqs=none" not in url:
        options["ssl_check_hostname"] = True  # otherwise, before redis-py 6, any name in a valid certificate would do
    if scheme != "unix":
        options["socket_keepalive"] = True
        options["socket_keepalive_options"] = {
            getattr(socket, name): value for name, value in _KEEPALIVE.items() if hasattr(socket, name)
        }
    try:
        check_options(url)
        pool: ConnectionPool
        if scheme == "redis+sentinel":
            pool = _sentinel_pool(url, options)
            _guard_connections(pool, master_of(url))
        else:
            # Waits for a free connection as long as a command may take, instead of failing at once.
            pool = BlockingConnectionPool.from_url(url, timeout=settings.command_timeout_seconds, **options)
            _guard_connections(pool, master_of(url))
            pool.make_connection()  # no I/O; raises for options that connections don't have
    except (ValueError, TypeError, RedisError) as exc:
        # Not chained: the library's error may quote from the password.
        raise InvalidArgument("redis_url", redacted(url), why_unreadable(url, exc)) from None
    client = _with_quiet_pipelines(client_class)(connection_pool=pool)
    client.auto_close_connection_pool = True
    return client


class _SentinelPool(SentinelConnectionPool):
    """Also closes the connections to the sentinels, which the driver's own pool leaves open."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the connections; with `inuse_connections` also those to the sentinels."""
        await super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in self.sentinel_manager.sentinels:
                await sentinel.connection_pool.disconnect()


def _sentinel_pool(url: str, options: dict[str, Any]) -> SentinelConnectionPool:
    asked = read_sentinel_url(url)
    sentinel_options = {
        name: options[name]
        for name in (
            "socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_keepalive_options",
            "retry",
        )
    }  # fmt: skip
    sentinel = Sentinel(asked.addresses, sentinel_kwargs=sentinel_options | asked.sentinel_options)
    options |= asked.options | {"is_master": True, "check_connection": False}
    return _SentinelPool(asked.service, sentinel, **options)  # type: ignore[no-untyped-call]


class Master:
    """The server that a URL leads to, for all connections of this process.

    demoted_at: when it last reported that it is no master, in monotonic seconds; 0: never.
    """

    def __init__(self) -> None:
        self.demoted_at = 0.0


@functools.cache
def master_of(url: str) -> Master:  # noqa: ARG001 - the key of the cache
    """Return the record of the server at a URL."""
    return Master()


def _guard_connections(pool: ConnectionPool, master: Master) -> None:
    kind = pool.connection_class
    pool.connection_class = type(kind.__name__, (_GuardedConnection, kind), {"master": master})


class _GuardedConnection(AbstractConnection):
    """Checks and sends without losing a cancellation, and leaves a server that is no master any more.

    Before a pooled connection is used, the driver checks it by a read that ends itself with a cancellation. It would
    take a cancellation that is already pending, requested by a signal handler or by the task itself, for its own.
    Sending avoids asyncio.wait_for, which on Python 3.11 loses a cancellation that arrives just as it ends
    (https://github.com/python/cpython/issues/86296): one time in twenty, a reader that was stopped right after a reply
    then kept reading forever.

    A master that is demoted may keep its connections open, while its name, or a proxy, leads new connections to its
    successor, or soon will. So from the first refusal on, every connection that was opened before is opened again at
    its next use. Only a master is connected to: a replica would serve reads that are out of date, forever.
    """

    master: Master
    opened_at = 0.0

    async def connect(self) -> None:
        """Connect. Raises the driver's errors, and ReadOnlyError if a demoted server is still a replica."""
        if self.is_connected:
            return
        self.opened_at = time.monotonic()
        await super().connect()  # type: ignore[no-untyped-call]  # the driver lacks types
        if self.master.demoted_at:
            await self._check_role()

    async def _check_role(self) -> None:
        role: Any = b"master"
        with contextlib.suppress(ResponseError):  # this user may not run it
            await self.send_command("HELLO")  # ROLE would need a permission of its own
            said = await self.read_response()
            role = dict(zip(said[::2], said[1::2], strict=False)).get(b"role", role)
        if role != b"master":
            await self.disconnect()
            raise ReadOnlyError("the server is no master now")

    async def can_read_destructive(self) -> bool:
        """Return whether the connection must be opened again. Raises the driver's errors.

        It must if there is unexpected data on it, or if its server has stopped being the master.
        """
        return await self._needs_reopening(super().can_read_destructive)

    async def can_read(self) -> bool:
        """Return the same: redis-py 8 calls this method instead."""
        return await self._needs_reopening(super().can_read)  # type: ignore[misc]  # older versions lack it

    async def _needs_reopening(self, can_read: Callable[[], Awaitable[Any]]) -> bool:
        if self.opened_at <= self.master.demoted_at:
            return True
        task = asyncio.current_task()
        cancellations = task.cancelling() if task is not None else 0
        if cancellations:
            await asyncio.sleep(0)  # raises a pending cancellation; returns in a task that already handles its own
        try:
            return bool(await can_read())
        except asyncio.CancelledError:
            if task is None or not cancellations or task.cancelling() > cancellations:
                raise
            return False  # from the check's own timeout: before Python 3.11.3, in a task that handles a cancellation

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Read a reply. Raises the driver's errors, without the sent data that they quote."""
        try:
            return await super().read_response(*args, **options)
        except RedisError as exc:
            self.note_error(exc)
            raise

    def note_error(self, exc: BaseException) -> None:
        """Remove quoted data from an error reply on this connection, and record a demotion of its server."""
        if exc.args and isinstance(exc.args[0], str):
            exc.args = (without_payload(exc.args[0]), *exc.args[1:])
        if is_demotion(exc):
            self.master.demoted_at = time.monotonic()

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send within `socket_timeout`. Raises the driver's errors."""
        if not self.is_connected:
            await self.connect()  # later versions of the driver would connect here without looking for the role
        seconds, self.socket_timeout = self.socket_timeout, None  # with None the driver doesn't use wait_for
        try:
            async with asyncio.timeout(seconds):
                await super().send_packed_command(command, check_health)
        except TimeoutError as exc:
            raise RedisTimeoutError("Timeout writing to socket") from exc
        except RuntimeError as exc:  # from uvloop, where asyncio raises nothing: the connection broke after the check
            if "closed" not in str(exc):
                raise
            raise RedisConnectionError(f"Error while writing to socket. {exc}.") from exc
        finally:
            self.socket_timeout = seconds


class _QuietPipeline(Pipeline):
    """Reports a failed command by its number; the driver's own pipeline quotes the whole command."""

    def annotate_exception(self, exception: Exception, number: int, command: Iterable[object]) -> None:
        """Replace the quoted command by its number."""
        words = without_payload(str(exception.args[0])) if exception.args else type(exception).__name__
        exception.args = (f"command {number} of a pipeline: {words}", *exception.args[1:])


@functools.cache
def _with_quiet_pipelines(client_class: type[Redis]) -> type[Redis]:
    def pipeline(self: Redis, transaction: bool = True, shard_hint: str | None = None) -> _QuietPipeline:
        return _QuietPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)

    return type(client_class.__name__, (client_class,), {"pipeline": pipeline})
