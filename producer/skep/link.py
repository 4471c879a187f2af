"""A client's connections to one shard, and how it behaves when Redis is away.

Whatever may be sent again is sent again, with backoff, until `outage_seconds` have passed; then the caller gets
RedisUnavailable. Submits may be sent again because a cell id is accepted once. What would be refused again is told at
once (RedisRefused, RedisFull).
"""

import asyncio
import contextlib
import itertools
import os
import random
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Final, Literal, TypeVar, cast

from skep.shared_reads import SharedReads
from skep_shared.activation import enqueue_activation, open_arq
from skep_shared.client_scripts import ClientScripts
from skep_shared.connection import BLOCK_MARGIN_SECONDS, open_redis
from skep_shared.errors import ClientUnusable, SkepError, WaitTimeout
from skep_shared.keys import Keys
from skep_shared.lane import Lane
from skep_shared.redis_errors import REDIS_ERRORS, is_passing
from skep_shared.script_replies import ControlStatus
from skep_shared.server_check import as_skep_error, check_server
from skep_shared.settings import Settings

T = TypeVar("T")

Page = list[tuple[bytes, list[bytes]]]  # entries: id, [field, value, …]

OWNER_SECONDS: Final = 20.0
FIRST_DELAY_SECONDS: Final = 0.02
LONGEST_DELAY_SECONDS: Final = 1.0
_ANOTHER: Final = "Open another one with skep.connect() where it is needed"


class ShardLink:
    """Clients for commands and for blocking reads, and the scripts, of one shard.

    It belongs to the event loop and the process that it is made in: what it opens works nowhere else.
    """

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self.settings = settings
        self.keys = Keys(settings.prefix)
        self.redis = open_redis(settings)
        self.blocking = open_redis(settings, blocking=True)
        # Entries are read as they come: a reply repeats its field `e`, which a dict would lose.
        self.blocking.set_response_callback("XREAD", _entries_as_they_come)
        self.arq = open_arq(settings)
        self._lane = Lane(self.redis, settings.command_timeout_seconds)
        self.reading_lane = Lane(self.redis, settings.command_timeout_seconds)  # its replies may be long
        self._replies_lane = Lane(self.blocking, settings.block_seconds + BLOCK_MARGIN_SECONDS)
        self._shared_lane = Lane(self.blocking, settings.block_seconds + BLOCK_MARGIN_SECONDS)
        self._lanes = (self._lane, self.reading_lane, self._replies_lane, self._shared_lane)
        wake_key = self.keys.wake(uuid.uuid4().hex)
        self._shared_reads = SharedReads(self._shared_lane, self._lane, wake_key, settings.block_seconds)
        # Followers that have a connection each; the others share one, so that reads are never out of connections.
        self._free_reads = settings.max_connections // 2
        self.scripts = ClientScripts(self._lane, self.keys)
        block_ms = max(1, int(settings.block_seconds * 1000))
        self._read_command = ("XREAD", "COUNT", 500, "BLOCK", block_ms, "STREAMS")
        self._failure: SkepError | None = None
        self._closing: asyncio.Task[None] | None = None

    async def fail(self, exc: SkepError) -> None:
        """Have every call that waits, and each later one, end with this error."""
        self._failure = exc
        for lane in (self._replies_lane, self._shared_lane):
            lane.abort()
        await self.blocking.connection_pool.disconnect()  # reads that wait on it look up

    def check_use(self) -> None:
        """Make sure that this client can be used here and now.

        Raises ClientUnusable, or what `fail` was given. A wait that belongs to another loop would never end, and a
        child that writes to its parent's connection would spoil the parent's replies.
        """
        if self._failure is not None:
            raise self._failure
        if asyncio.get_running_loop() is not self._loop or os.getpid() != self._pid:
            if not self.is_own_process:
                was = f"it was opened in process {self._pid}, before a fork; this is process {os.getpid()}"
                raise ClientUnusable(f"{was}. {_ANOTHER}")
            where = "in an event loop that has ended" if self._loop.is_closed() else "in another event loop or thread"
            raise ClientUnusable(f"it was opened {where}. {_ANOTHER}")

    @property
    def is_own_process(self) -> bool:
        """Tell whether this is the process that the client was opened in, not a fork of it."""
        return os.getpid() == self._pid

    def abandon(self) -> None:
        """Close every connection soon, from any thread: nobody holds this client any more."""
        if self.is_own_process and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # it has been closed just now
                self._loop.call_soon_threadsafe(self._begin_closing)

    def _begin_closing(self) -> None:
        self._closing = self._loop.create_task(self.aclose(), name="closing of a skep client that was dropped")

    async def check(self) -> None:
        """Make sure that the server can hold sessions. Raises RedisUnavailable, RedisRefused, RedisUnsuitable."""
        await check_server(self.redis, self.settings)

    async def aclose(self) -> None:
        """Close every connection; each later call ends with ClientUnusable. In a fork of its process: do nothing."""
        if not self.is_own_process:  # the event loop's selector is the parent's too, and would forget its connections
            return
        self._failure = self._failure or ClientUnusable(f"it has been closed. {_ANOTHER}")
        await self._shared_reads.aclose()
        for lane in self._lanes:
            await lane.aclose()
        for client in (self.redis, self.blocking, self.arq):
            with contextlib.suppress(*REDIS_ERRORS):
                await client.aclose()

    async def persist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Await `call()` until Redis answers; only for what may be sent again.

        Raises RedisUnavailable, and at once RedisRefused, RedisFull for what Redis would refuse again.
        """
        patience = Patience(self.settings)
        while True:
            self.check_use()
            try:
                return await call()
            except REDIS_ERRORS as exc:
                await patience.wait(exc)

    async def activate(self, session_id: str) -> None:
        """Ask for an owner. The cells are safe already: should this fail, a worker finds the session by itself."""
        with contextlib.suppress(*REDIS_ERRORS):
            await enqueue_activation(self.arq, self.keys, session_id)

    async def request(
        self,
        session_id: str,
        kind: str,
        *,
        cell_id: str = "",
        about: Literal["cell", "process"] = "cell",
        fields: Mapping[str, str | bytes | int] | None = None,
    ) -> ControlStatus:
        """Send a request to the session's owner; if it has none, have one found and ask again.

        Raises WaitTimeout after OWNER_SECONDS without an owner, RedisUnavailable.
        """
        control = self.scripts.control
        try:
            async with asyncio.timeout(OWNER_SECONDS):
                for delay in itertools.chain((0.0, 0.005, 0.02, 0.05, 0.1), itertools.repeat(0.25)):
                    await asyncio.sleep(delay)  # an activation that is under way has no signal here
                    sent = await self.persist(
                        lambda: control(session_id, kind, cell_id=cell_id, about=about, fields=fields)
                    )
                    if sent.needs_activation:
                        await self.activate(session_id)
                    if sent.status is not ControlStatus.ABSENT:
                        return sent.status
        except TimeoutError:
            raise WaitTimeout(f"an owner of session {session_id!r}", OWNER_SECONDS) from None
        raise AssertionError("the delays never end")

    def follow_stream(self, key: str, after: str, *, owned_by: str) -> AsyncGenerator[Page, None]:
        """Yield pages of (id, [field, value, …]) behind `after`, for ever.

        An empty page says that the reader had better look at what it counts on: nothing has come for a while, or Redis
        was away and may not have everything any more. owned_by: the hash of the session whose stream it is; an empty
        page comes also before the first entries under another owner. Survives reconnects. Raises RedisUnavailable.
        """
        # The pool replaces a connection that was lost while nobody used it, and says nothing. But a log that went back
        # goes on only under another owner, since the one it had finds its place gone and gives the session back.
        return self._follow(after, lambda last: self._read_owned(key, last, owned_by))

    def follow_replies(self, client_id: str) -> AsyncGenerator[Page, None]:
        """Yield pages of this client's replies, as `follow_stream` does; for its one reader."""
        key = self.keys.replies(client_id)
        return self._follow("0-0", lambda last: self._read_replies(key, last))

    async def _follow(
        self, after: str, read: Callable[[str], Awaitable[tuple[bytes | None, list[Any]]]]
    ) -> AsyncGenerator[Page, None]:
        owner: bytes | None = None
        patience = Patience(self.settings)
        while True:
            self.check_use()
            try:
                token, reply = await read(after)
            except REDIS_ERRORS as exc:
                await patience.wait(exc)
                yield []
                continue
            patience = Patience(self.settings)
            entries = [(entry_id, fields) for _, page in reply for entry_id, fields in page]
            if entries and token != owner:
                yield []
            owner = token
            if entries:
                after = entries[-1][0].decode()
            yield entries

    async def _read_replies(self, key: str, after: str) -> tuple[None, list[Any]]:
        return None, await self._replies_lane.execute_command(*self._read_command, key, after) or []

    async def _read_owned(self, key: str, after: str, owned_by: str) -> tuple[bytes | None, list[Any]]:
        """Read who owns the session, and then its stream, on one connection. Raises the driver's errors."""
        if not self._free_reads:
            return await self._shared_reads.read(key, after, owned_by)
        self._free_reads -= 1
        try:
            return await self._read_alone(key, after, owned_by)
        finally:
            self._free_reads += 1

    async def _read_alone(self, key: str, after: str, owned_by: str) -> tuple[bytes | None, list[Any]]:
        async with self.blocking.pipeline(transaction=False) as pipe:
            pipe.execute_command("HGET", owned_by, "token")
            pipe.execute_command(*self._read_command, key, after)
            replies = await cast("Awaitable[list[Any]]", pipe.execute(raise_on_error=False))
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies[0], replies[1]


def _entries_as_they_come(response: Any, **_options: Any) -> Any:
    return response or []


class Patience:
    """How long one caller goes on trying while Redis is away."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ends_at: float | None = None
        self._delay = FIRST_DELAY_SECONDS

    async def wait(self, exc: Exception) -> None:
        """Sleep a little longer each time.

        Raises RedisUnavailable when patience has run out; RedisRefused, RedisFull if waiting would not help.
        """
        if not is_passing(exc):
            raise as_skep_error(self._settings, exc) from exc
        now = time.monotonic()
        if self._ends_at is None:
            self._ends_at = now + self._settings.outage_seconds
        if now >= self._ends_at:
            raise as_skep_error(self._settings, exc) from exc
        await asyncio.sleep(self._delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreading, not secrecy
        self._delay = min(self._delay * 2, LONGEST_DELAY_SECONDS)
