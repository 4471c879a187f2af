"""A client's connections to one shard, and how it behaves when Redis is away.

A request that is safe to repeat is repeated, with backoff, until `outage_seconds` have passed; then the caller gets
RedisUnavailable. A submit is safe to repeat because a cell id is accepted once. A refusal that would be repeated is
raised at once (RedisRefused, RedisFull).
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
from skep_shared.broker.client_scripts import ClientScripts
from skep_shared.broker.keys import Keys
from skep_shared.broker.lane import Lane
from skep_shared.broker.mailbox_entries import Field, RequestKind
from skep_shared.broker.redis_client.connection import BLOCK_MARGIN_SECONDS, open_redis
from skep_shared.broker.redis_client.redis_errors import REDIS_ERRORS, is_passing
from skep_shared.broker.script_replies import Controlled, ControlStatus
from skep_shared.broker.server_check import as_skep_error, check_server
from skep_shared.errors import ClientUnusable, SignatureRefused, SkepError, WaitTimeout
from skep_shared.settings import Settings
from skep_shared.signing import OTHER_KEY, make_signer

T = TypeVar("T")

Page = list[tuple[bytes, list[bytes]]]  # entries: id, [field, value, …]

OWNER_SECONDS: Final = 20.0
FIRST_DELAY_SECONDS: Final = 0.02
LONGEST_DELAY_SECONDS: Final = 1.0
_ANOTHER: Final = "Open another one with skep.connect() where it is needed"


class ShardLink:
    """One shard's clients for commands and for blocking reads, and its scripts.

    It belongs to the event loop and the process that it was made in: its connections work nowhere else.
    """

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self.settings = settings
        self.keys = Keys(settings.prefix, "" if settings.tenant is None else f"{settings.tenant}/")
        self.redis = open_redis(settings)
        self.blocking = open_redis(settings, blocking=True)
        # Entries stay flat lists: a reply entry repeats its field `e`, which a dict would lose.
        self.blocking.set_response_callback("XREAD", _flat_entries)
        self._lane = Lane(self.redis, settings.command_timeout_seconds)
        self.reading_lane = Lane(self.redis, settings.command_timeout_seconds)  # for long replies
        self._replies_lane = Lane(self.blocking, settings.block_seconds + BLOCK_MARGIN_SECONDS)
        self._shared_lane = Lane(self.blocking, settings.block_seconds + BLOCK_MARGIN_SECONDS)
        self._lanes = (self._lane, self.reading_lane, self._replies_lane, self._shared_lane)
        wake_key = self.keys.wake(uuid.uuid4().hex)
        self._shared_reads = SharedReads(self._shared_lane, self._lane, wake_key, settings.block_seconds)
        # How many more followers get a connection each. The others share one, so that no read waits for a connection.
        self._free_reads = settings.max_connections // 2
        self.signer = make_signer(settings.signing_key, settings.prefix)
        self.scripts = ClientScripts(self._lane, self.keys, self.signer)
        block_ms = max(1, int(settings.block_seconds * 1000))
        self._read_command = ("XREAD", "COUNT", 500, "BLOCK", block_ms, "STREAMS")
        self._failure: SkepError | None = None
        self._closing: asyncio.Task[None] | None = None

    async def fail(self, exc: SkepError) -> None:
        """End every call that waits, and each later one, with this error."""
        self._failure = exc
        for lane in (self._replies_lane, self._shared_lane):
            lane.abort()
        await self.blocking.connection_pool.disconnect()  # wakes the reads that wait on it

    def check_use(self) -> None:
        """Raise ClientUnusable outside this client's event loop or process, or the error that `fail` was called with.

        A wait that belongs to another loop would never end, and a child process that writes to its parent's connection
        would disturb the parent's replies.
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
        """Return whether this is the process that opened the client, not a fork of it."""
        return os.getpid() == self._pid

    def abandon(self) -> None:
        """Close every connection soon, from any thread: the client has been dropped without being closed."""
        if self.is_own_process and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # the loop has been closed just now
                self._loop.call_soon_threadsafe(self._begin_closing)

    def _begin_closing(self) -> None:
        self._closing = self._loop.create_task(self.aclose(), name="closing of a skep client that was dropped")

    async def check(self) -> None:
        """Check that the server can hold sessions. Raises RedisUnavailable, RedisRefused, RedisUnsuitable."""
        await check_server(self.redis, self.settings)

    async def aclose(self) -> None:
        """Close every connection; each later call raises ClientUnusable. Do nothing in a fork of its process."""
        if not self.is_own_process:  # the selector is shared with the parent, whose connections it would forget
            return
        self._failure = self._failure or ClientUnusable(f"it has been closed. {_ANOTHER}")
        await self._shared_reads.aclose()
        for lane in self._lanes:
            await lane.aclose()
        for client in (self.redis, self.blocking):
            with contextlib.suppress(*REDIS_ERRORS):
                await client.aclose()

    async def persist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Await `call()` again and again until Redis answers; only for calls that are safe to repeat.

        Raises RedisUnavailable, and at once RedisRefused or RedisFull where Redis would refuse again.
        """
        backoff = OutageBackoff(self.settings)
        while True:
            self.check_use()
            try:
                return await call()
            except REDIS_ERRORS as exc:
                await backoff.wait(exc)

    async def request(
        self,
        session_id: str,
        kind: RequestKind,
        *,
        cell_id: str = "",
        about: Literal["cell", "process", "residency"] = "cell",
        fields: Mapping[str, Field] | None = None,
    ) -> Controlled:
        """Send a request to the session's owner; a session without one is activated, and the request sent again.

        Raises WaitTimeout after OWNER_SECONDS without an owner, SignatureRefused, RedisUnavailable.
        """
        control = self.scripts.control
        try:
            async with asyncio.timeout(OWNER_SECONDS):
                for delay in itertools.chain((0.0, 0.005, 0.02, 0.05, 0.1), itertools.repeat(0.25)):
                    await asyncio.sleep(delay)  # the end of an activation sends no signal to clients
                    sent = await self.persist(
                        lambda: control(session_id, kind, cell_id=cell_id, about=about, fields=fields)
                    )
                    if sent.status is ControlStatus.UNSIGNED:
                        raise SignatureRefused(f"{kind} of session {session_id!r}", OTHER_KEY)
                    if sent.status is not ControlStatus.ABSENT:
                        return sent
        except TimeoutError:
            raise WaitTimeout(f"an owner of session {session_id!r}", OWNER_SECONDS) from None
        raise AssertionError("the delays never end")

    async def is_owner(self, session_id: str, worker_id: str) -> bool:
        """Return whether this worker is alive and owns the session. Raises RedisUnavailable."""
        session, marker = self.keys.session(session_id), self.keys.worker(worker_id)
        owner = await self.persist(lambda: self.redis.execute_command("HGET", session, "owner"))
        return owner == worker_id.encode() and bool(await self.persist(lambda: self.redis.exists(marker)))

    def follow_stream(self, key: str, after: str, *, owned_by: str) -> AsyncGenerator[Page, None]:
        """Yield pages of (id, [field, value, …]) after `after`, forever.

        An empty page asks the reader to check its assumptions: there were no entries for a while, or Redis was
        unreachable and may have lost data. owned_by: the hash of the session whose stream it is; an empty page also
        precedes the first entries written by another owner. Survives reconnects. Raises RedisUnavailable.
        """
        # The pool silently replaces an unused connection that was lost. But after Redis has gone back to an earlier
        # state, the stream continues only under another owner: the old one finds a gap and releases the session.
        return self._follow(after, lambda last: self._read_owned(key, last, owned_by))

    def follow_replies(self, client_id: str) -> AsyncGenerator[Page, None]:
        """Yield pages of this client's replies, as `follow_stream` does; for its only reader."""
        key = self.keys.replies(client_id)
        return self._follow("0-0", lambda last: self._read_replies(key, last))

    async def _follow(
        self, after: str, read: Callable[[str], Awaitable[tuple[bytes | None, list[Any]]]]
    ) -> AsyncGenerator[Page, None]:
        owner: bytes | None = None
        backoff = OutageBackoff(self.settings)
        while True:
            self.check_use()
            try:
                token, reply = await read(after)
            except REDIS_ERRORS as exc:
                await backoff.wait(exc)
                yield []
                continue
            backoff = OutageBackoff(self.settings)
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
        """Read the token of the session's owner, then its stream, on one connection. Raises the driver's errors."""
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


def _flat_entries(response: Any, **_options: Any) -> Any:
    return response or []


class OutageBackoff:
    """The pauses between the tries of one call while Redis can't be reached, and when to give up."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ends_at: float | None = None
        self._delay = FIRST_DELAY_SECONDS

    async def wait(self, exc: Exception) -> None:
        """Sleep before the next try, longer each time.

        Raises RedisUnavailable after `outage_seconds`, and RedisRefused or RedisFull if waiting would not help.
        """
        if not is_passing(exc):
            raise as_skep_error(self._settings, exc) from exc
        now = time.monotonic()
        if self._ends_at is None:
            self._ends_at = now + self._settings.outage_seconds
        if now >= self._ends_at:
            raise as_skep_error(self._settings, exc) from exc
        await asyncio.sleep(self._delay * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        self._delay = min(self._delay * 2, LONGEST_DELAY_SECONDS)
