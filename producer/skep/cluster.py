"""Connect to a shard, get handles on its sessions, list its sessions and workers."""

import uuid
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import NoReturn

from skep.cell import Cell
from skep.link import ShardLink
from skep.listings.index_pages import live_workers
from skep.listings.session_listing import SessionFilter, find_sessions
from skep.replies import ReplyReader
from skep.session import Session
from skep.why import Standstill, explain
from skep_shared.errors import ClientUnusable, InvalidArgument, NotFound
from skep_shared.limits import check_tenant
from skep_shared.models import SessionInfo, SessionOptions, WorkerInfo
from skep_shared.settings import Settings
from skep_shared.states import SessionState


class Cluster:
    """A client's view of one shard, or of one tenant's sessions there."""

    def __init__(self, link: ShardLink, replies: ReplyReader) -> None:
        self._link = link
        self._replies = replies

    @property
    def settings(self) -> Settings:
        """The settings that this client was connected with."""
        return self._link.settings

    def session(self, session_id: str, *, options: SessionOptions | None = None) -> Session:
        """Return a handle on a session, existing or new; no I/O. Its first cell creates a new one with `options`.

        Raises InvalidArgument, also for a limit above the maximum in this client's settings.
        """
        return Session(self._link, self._replies, session_id, options)

    def cell(self, session_id: str, cell_id: str) -> Cell:
        """Return a handle on a cell that any client submitted; no I/O. Raises InvalidArgument."""
        return self.session(session_id).cell(cell_id)

    def sessions(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        state: SessionState | str | None = None,
        prefix: str | None = None,
    ) -> AsyncIterator[SessionInfo]:
        """Yield the sessions, oldest first: the tenant's own, or without a tenant all, a tenant's as TENANT/ID.

        Only those with all these labels, in this state ("open", "closing", "closed"), whose ids begin with the prefix.
        Redis filters, and a session that doesn't match isn't read. Raises InvalidArgument, RedisUnavailable.
        """
        wanted = SessionFilter.checked(labels, state, prefix, has_tenant=bool(self._link.keys.scope))
        return find_sessions(self._link, wanted)

    async def workers(self) -> AsyncIterator[WorkerInfo]:
        """Yield every live worker of the shard, the oldest heartbeat first. Raises RedisUnavailable."""
        async for worker in live_workers(self._link):
            yield worker

    async def why(self, session_id: str) -> Standstill:
        """Return the reasons why no cell of a session runs. Raises InvalidArgument, NotFound, RedisUnavailable."""
        try:
            info = await self.session(session_id).info()
        except NotFound:
            info = None
        return await explain(self._link, session_id, info, self.workers())


class Connecting:
    """The result of `connect`: an asynchronous context manager whose value is a Cluster, closed at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shard: OpenShard | None = None

    async def __aenter__(self) -> Cluster:
        """Connect. Raises InvalidArgument, RedisUnavailable, RedisRefused, RedisUnsuitable."""
        if self._shard is not None:
            raise ClientUnusable("it is already open: each `async with` needs its own skep.connect()")
        self._shard = OpenShard(self._settings)
        return Cluster(*await self._shard.__aenter__())

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        shard, self._shard = self._shard, None
        if shard is not None:
            await shard.__aexit__(kind, exc, trace)

    def __await__(self) -> NoReturn:
        """Raise ClientUnusable, which says how to use it."""
        raise ClientUnusable("`await skep.connect(…)` does not connect; use `async with skep.connect(…) as cluster:`")

    def __getattr__(self, name: str) -> NoReturn:
        """Raise ClientUnusable, which says how to use it, for the methods of a Cluster."""
        if name in vars(Cluster):
            raise ClientUnusable("it is not open yet: use `async with skep.connect(…) as cluster:`")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def connect(url: str | None = None, *, tenant: str | None = None, settings: Settings | None = None) -> Connecting:
    """Connect to the shard at `url` (redis://, rediss://, unix://, redis+sentinel://), by default SKEP_REDIS_URL.

    With a tenant (by default SKEP_TENANT), session ids and listings are that tenant's: other sessions don't exist for
    this client.

    Use it with `async with`. Entering raises RedisUnavailable, RedisRefused for credentials or permissions that don't
    suffice, and RedisUnsuitable. Leaving cancels waits, never cells. The client belongs to the event loop and the
    process that it was opened in; in another one, or after it is closed, its calls raise ClientUnusable. Raises
    InvalidArgument.
    """
    if tenant is not None:
        check_tenant(tenant)
    if settings is None:
        return Connecting(Settings.load(redis_url=url, tenant=tenant))
    if url is not None and not isinstance(url, str):
        raise InvalidArgument("url", url, "a URL is needed")
    given = {"redis_url": url, "tenant": tenant}
    return Connecting(settings.model_copy(update={name: value for name, value in given.items() if value is not None}))


class OpenShard:
    """The parts of a Cluster, opened after the server has been checked; for `async with`.

    Not an asynchronous generator: asyncio.run closes the ones that are still open, all at once, and so in the middle of
    each other's cleanup.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._parts: tuple[ShardLink, ReplyReader] | None = None

    async def __aenter__(self) -> tuple[ShardLink, ReplyReader]:
        """Connect and check the server. Raises InvalidArgument, RedisUnavailable, RedisRefused, RedisUnsuitable."""
        link = ShardLink(self._settings)
        try:
            await link.check()
        except BaseException:
            await link.aclose()
            raise
        self._parts = link, ReplyReader(link, uuid.uuid4().hex)
        return self._parts

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection; do nothing in a fork of the process that opened them."""
        if self._parts is not None:
            link, replies = self._parts
            await replies.aclose()
            await link.aclose()
