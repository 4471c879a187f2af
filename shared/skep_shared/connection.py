"""Connections to Redis: what every part of skep uses, set up the one way that was measured to be safe.

- Every connection has a socket timeout: without one a frozen server hangs the caller for ever. Blocking reads have
  their own client whose timeout is the BLOCK time plus a margin.
- The client library's retry is off: it doubles plain writes. Scripts are made to be sent again, by their callers.
- RESP2 and bytes, so that Redis 6.2 and 7 answer alike.
- A task that starts a command or is sending one can be cancelled, which the client library's own ways spoil.
"""

import asyncio
import re
from collections.abc import Awaitable
from typing import Any, Final, cast
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from skep_shared.errors import InvalidArgument, RedisUnavailable, RedisUnsuitable
from skep_shared.settings import Settings

BLOCK_MARGIN_SECONDS: Final = 2.0
READ_BYTES: Final = 256 * 1024  # at once, if there is so much: what a chunk of state comes in, twice
OLDEST_REDIS: Final = (6, 2)
# Credentials that urlsplit would cut short, and passwords outside of the credentials.
_CUT_CREDENTIALS: Final = re.compile(r"(?!unix:)[^:]*://[^@/?#]*[/?#][^@]*@")
_QUERY_PASSWORD: Final = re.compile(r"([?&][^=&]*password=)[^&#]*")
_END_OF_PLACE: Final = re.compile("[/?#]")
_SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel")

# What the driver raises when the server can't be reached or has stopped answering. Its ConnectionError and
# TimeoutError don't derive from Python's, and a refused connection may come as a plain OSError.
CONNECTION_ERRORS: Final = (RedisConnectionError, RedisTimeoutError, OSError)


def open_redis(settings: Settings, *, blocking: bool = False, client_class: type[Redis] = Redis) -> Redis:
    """Give a client of `settings.redis_url`; no I/O yet.

    A `blocking` client is for reads that wait up to `settings.block_seconds`. Raises InvalidArgument for a URL it
    can't read.
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
    if scheme not in _SCHEMES:
        raise InvalidArgument("redis_url", redacted(url), f"one of {', '.join(s + '://' for s in _SCHEMES)} is needed")
    try:
        pool: ConnectionPool
        if scheme == "redis+sentinel":
            pool = _sentinel_pool(url, options)
            _let_commands_be_cancelled(pool)
        else:
            # Waits for a free connection, within the time a command may take, instead of failing at once.
            pool = BlockingConnectionPool.from_url(url, timeout=settings.command_timeout_seconds, **options)
            _let_commands_be_cancelled(pool)
            pool.make_connection()  # without I/O: finds options that no connection knows
    except (ValueError, TypeError, RedisError) as exc:
        # Not chained: the library's error may quote from the password.
        raise InvalidArgument("redis_url", redacted(url), _why_unreadable(url, exc)) from None
    client = client_class(connection_pool=pool)
    client.auto_close_connection_pool = True
    return client


def _let_commands_be_cancelled(pool: ConnectionPool) -> None:
    kind = pool.connection_class
    pool.connection_class = type(kind.__name__, (_CancellableCommands, kind), {})


class _CancellableCommands(AbstractConnection):
    """Looks before a command, and sends it, without losing a cancellation.

    The look is a read that ends itself with a cancellation. One that is pending already, since a signal handler or
    code of the task itself has asked for it, would be taken for that. Sending does without asyncio.wait_for: on
    Python 3.11 that loses a cancellation which comes just as it ends (https://github.com/python/cpython/issues/86296):
    a reader that is told to stop right after a reply then reads on for ever, one time in twenty.
    """

    async def can_read_destructive(self) -> bool:
        """Tell whether something has come that nobody asked for. Raises the driver's errors."""
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


def _sentinel_pool(url: str, options: dict[str, Any]) -> SentinelConnectionPool:
    """Read redis+sentinel://[user:password@]host:port,host:port/service[/db][?sentinel_password=…]."""
    # By hand: urlsplit takes one host, and where CVE-2025-0938 is mended, refuses [::1] beside others.
    scheme, _, rest = url.partition("://")
    place = _END_OF_PLACE.split(rest, maxsplit=1)[0]
    parts = urlsplit(f"{scheme}://{rest[len(place) :]}")
    credentials, _, hosts = place.rpartition("@")
    user, _, password = credentials.partition(":")
    path = parts.path.strip("/").split("/")
    if not hosts or not path[0]:
        raise ValueError("redis+sentinel:// needs host:port,host:port/service[/db]")
    addresses = []
    for host in hosts.split(","):
        address = urlsplit(f"//{host}")
        if not address.hostname:
            raise ValueError("redis+sentinel:// needs a name for every host")
        addresses.append((address.hostname, address.port or 26379))
    options |= {"db": int(path[1]) if len(path) > 1 else 0}
    if user:
        options["username"] = unquote(user)
    if password:
        options["password"] = unquote(password)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    sentinel_options = {
        name: options[name] for name in ("socket_timeout", "socket_connect_timeout", "retry", "retry_on_timeout")
    }
    if "sentinel_password" in query:
        sentinel_options["password"] = query["sentinel_password"]
    sentinel = Sentinel(addresses, sentinel_kwargs=sentinel_options)
    return SentinelConnectionPool(path[0], sentinel, is_master=True, check_connection=False, **options)


def redacted(url: str) -> str:
    """Give the URL without its passwords, for messages and logs; it need not be a valid one."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    credentials, at, place = rest.rpartition("@")
    if at:
        rest = f"{credentials.partition(':')[0]}:***@{place}"
    return scheme + separator + _QUERY_PASSWORD.sub(r"\1***", rest)


def _why_unreadable(url: str, exc: Exception) -> str:
    """Give the reason, which is the library's own word unless that could quote from a password."""
    if _CUT_CREDENTIALS.match(url):
        return "a / ? or # in the user name or password must be percent-encoded"
    return str(exc)


async def check_server(redis: Redis, settings: Settings) -> None:
    """Make sure that this server can hold sessions.

    Raises RedisUnavailable if it doesn't answer, RedisUnsuitable for a version below 6.2 or a memory policy that
    evicts keys: an evicted session hash would be a lost session.
    """
    try:
        facts = await cast("Awaitable[dict[str, Any]]", redis.info())
    except (RedisError, OSError) as exc:
        raise unavailable(settings, exc) from exc
    version = str(facts.get("redis_version", "unknown"))
    try:
        numbers = tuple(int(part) for part in version.split(".")[:2])
    except ValueError:
        numbers = (0, 0)
    if numbers < OLDEST_REDIS:
        raise RedisUnsuitable("version", version, "6.2 or newer", "upgrade the server")
    policy = str(facts.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        raise RedisUnsuitable(
            "maxmemory-policy",
            policy,
            "noeviction",
            "an evicted key is a lost session; set maxmemory-policy noeviction",
        )


def unavailable(settings: Settings, exc: BaseException) -> RedisUnavailable:
    """Translate the driver's error."""
    reason = str(exc).rstrip(".") or type(exc).__name__
    return RedisUnavailable(redacted(settings.redis_url), reason)


def is_passing(exc: ResponseError) -> bool:
    """Tell whether the server refused for a while: a script holds it up, or it can't write to its disk."""
    return str(exc).startswith("BUSY") or "MISCONF" in str(exc)[:200]


def is_out_of_memory(exc: ResponseError) -> bool:
    """Tell whether the server refused a write because it is full."""
    return "OOM" in str(exc)[:200] or "maxmemory" in str(exc)
