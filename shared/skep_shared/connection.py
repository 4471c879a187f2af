"""Connections to Redis: what every part of skep uses, set up the one way that was measured to be safe.

- Every connection has a socket timeout: without one a frozen server hangs the caller for ever. Blocking reads have
  their own client whose timeout is the BLOCK time plus a margin.
- TCP connections that are idle are probed, so that a link which was dropped silently is found before it is used.
- The client library's retry is off: it doubles plain writes. Scripts are made to be sent again, by their callers.
- RESP2 and bytes, so that Redis 6.2 and 7 answer alike.
- A connection to a server that says it is no master any more is not used again, nor any that was opened before.
- A task that starts a command or is sending one can be cancelled, which the client library's own ways spoil.
- No error quotes what was sent.
"""

import asyncio
import contextlib
import functools
import socket
import time
from collections.abc import Iterable
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

from skep_shared.errors import InvalidArgument
from skep_shared.foreign_errors import without_payload
from skep_shared.redis_errors import is_demotion
from skep_shared.redis_url import SCHEMES, check_options, read_sentinel_url, redacted, why_unreadable
from skep_shared.settings import Settings

BLOCK_MARGIN_SECONDS: Final = 2.0
READ_BYTES: Final = 256 * 1024  # at once, if there is so much: what a chunk of state comes in, twice
# Load balancers forget a connection that was silent for some minutes; a peer that is gone is noticed after a minute.
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


def open_redis(settings: Settings, *, blocking: bool = False, client_class: type[Redis] = Redis) -> Redis:
    """Give a client of `settings.redis_url`; no I/O yet.

    A `blocking` client is for reads that wait up to `settings.block_seconds`. Raises InvalidArgument for a URL that it
    can't read, or with an option that would break it.
    """
    timeout = settings.command_timeout_seconds
    if blocking:
        timeout = settings.block_seconds + BLOCK_MARGIN_SECONDS
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_read_size": READ_BYTES,
        "socket_connect_timeout": settings.connect_timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "health_check_interval": 0,
        "protocol": 2,
        "max_connections": settings.max_connections,
    }
    url = settings.redis_url
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise InvalidArgument("redis_url", redacted(url), f"one of {', '.join(s + '://' for s in SCHEMES)} is needed")
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
            # Waits for a free connection, within the time a command may take, instead of failing at once.
            pool = BlockingConnectionPool.from_url(url, timeout=settings.command_timeout_seconds, **options)
            _guard_connections(pool, master_of(url))
            pool.make_connection()  # without I/O: finds options that no connection knows
    except (ValueError, TypeError, RedisError) as exc:
        # Not chained: the library's error may quote from the password.
        raise InvalidArgument("redis_url", redacted(url), why_unreadable(url, exc)) from None
    client = _with_quiet_pipelines(client_class)(connection_pool=pool)
    client.auto_close_connection_pool = True
    return client


class _SentinelPool(SentinelConnectionPool):
    """Closes its connections to the sentinels with those to the master, which the driver's own leaves open."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the connections; with those in use, the sentinels' too."""
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
            "retry", "retry_on_timeout",
        )
    }  # fmt: skip
    sentinel = Sentinel(asked.addresses, sentinel_kwargs=sentinel_options | asked.sentinel_options)
    options |= asked.options | {"is_master": True, "check_connection": False}
    return _SentinelPool(asked.service, sentinel, **options)  # type: ignore[no-untyped-call]


class Master:
    """The server that a URL leads to, for all connections of this process.

    demoted_at: when one of them was told last that it is no master, in monotonic seconds; 0: never.
    """

    def __init__(self) -> None:
        self.demoted_at = 0.0


@functools.cache
def master_of(url: str) -> Master:  # noqa: ARG001 - one for each
    """Return what is known of the server at a URL."""
    return Master()


def _guard_connections(pool: ConnectionPool, master: Master) -> None:
    kind = pool.connection_class
    pool.connection_class = type(kind.__name__, (_GuardedConnection, kind), {"master": master})


class _GuardedConnection(AbstractConnection):
    """Looks before a command, and sends it, without losing a cancellation; leaves a server that is no master any more.

    The look is a read that ends itself with a cancellation. One that is pending already, since a signal handler or
    code of the task itself has asked for it, would be taken for that. Sending does without asyncio.wait_for: on
    Python 3.11 that loses a cancellation which comes just as it ends (https://github.com/python/cpython/issues/86296):
    a reader that is told to stop right after a reply then reads on for ever, one time in twenty.

    A master that is demoted may keep its connections, while its name, or a proxy, leads new ones to its successor, or
    soon will. So from its first refusal on, each connection that was opened before, for whatever use, is opened again
    when it is used next; and only a master is connected to, since a replica would answer reads, late, for ever.
    """

    master: Master
    opened_at = 0.0

    async def connect(self) -> None:
        """Connect. Raises the driver's errors; ReadOnlyError if the server is known to have been a replica, and is."""
        if self.is_connected:
            return
        await super().connect()  # type: ignore[no-untyped-call]  # the driver lacks types
        if self.master.demoted_at:
            await self._check_role()

    async def _check_role(self) -> None:
        role: Any = b"master"
        with contextlib.suppress(ResponseError):  # from whoever may not ask
            await self.send_command("HELLO")  # ROLE would need a permission of its own
            said = await self.read_response()
            role = dict(zip(said[::2], said[1::2], strict=False)).get(b"role", role)
        if role != b"master":
            await self.disconnect()
            raise ReadOnlyError("the server is no master now")

    async def _connect(self) -> None:
        self.opened_at = time.monotonic()
        await super()._connect()  # type: ignore[no-untyped-call,safe-super]  # the driver's kinds of connection have it

    async def can_read_destructive(self) -> bool:
        """Tell whether the connection is to be opened again. Raises the driver's errors.

        So it is if something has come that nobody asked for, or if its server has stopped being the master.
        """
        if self.opened_at <= self.master.demoted_at:
            return True
        task = asyncio.current_task()
        cancellations = task.cancelling() if task is not None else 0
        if cancellations:
            await asyncio.sleep(0)  # raises what is pending; a task that cleans up after its cancellation goes on
        try:
            return bool(await super().can_read_destructive())  # type: ignore[no-untyped-call]  # the driver lacks types
        except asyncio.CancelledError:
            if task is None or not cancellations or task.cancelling() > cancellations:
                raise
            return False  # the look's own: before Python 3.11.3 its timeout raises this in a task that cleans up

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Read a reply. Raises the driver's errors, which quote nothing that was sent."""
        try:
            return await super().read_response(*args, **options)
        except RedisError as exc:
            self.hear(exc)
            raise

    def hear(self, exc: BaseException) -> None:
        """Take note of an error reply that has come on this connection, and take out what it quotes."""
        if exc.args and isinstance(exc.args[0], str):
            exc.args = (without_payload(exc.args[0]), *exc.args[1:])
        if is_demotion(exc):
            self.master.demoted_at = time.monotonic()

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send within `socket_timeout`. Raises the driver's errors."""
        seconds, self.socket_timeout = self.socket_timeout, None  # None: the driver leaves wait_for out
        try:
            async with asyncio.timeout(seconds):
                await super().send_packed_command(command, check_health)
        except TimeoutError as exc:
            raise RedisTimeoutError("Timeout writing to socket") from exc
        except RuntimeError as exc:  # uvloop's, where asyncio says nothing: the connection broke since it was looked at
            if "closed" not in str(exc):
                raise
            raise RedisConnectionError(f"Error while writing to socket. {exc}.") from exc
        finally:
            self.socket_timeout = seconds


class _QuietPipeline(Pipeline):
    """Says which of its commands has failed, not what was in it: the driver's own quotes whole commands."""

    def annotate_exception(self, exception: Exception, number: int, command: Iterable[object]) -> None:
        """Name the command by its place."""
        words = without_payload(str(exception.args[0])) if exception.args else type(exception).__name__
        exception.args = (f"command {number} of a pipeline: {words}", *exception.args[1:])


@functools.cache
def _with_quiet_pipelines(client_class: type[Redis]) -> type[Redis]:
    def pipeline(self: Redis, transaction: bool = True, shard_hint: str | None = None) -> _QuietPipeline:
        return _QuietPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)

    return type(client_class.__name__, (client_class,), {"pipeline": pipeline})
