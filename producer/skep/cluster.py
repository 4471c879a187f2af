"""The way in: connect to a shard, get handles, list what is there."""

import uuid
from collections.abc import AsyncIterator, Awaitable
from types import TracebackType
from typing import Any, Final, NoReturn, cast

from skep.cell import Cell
from skep.link import ShardLink
from skep.replies import ReplyReader
from skep.session import Session
from skep_shared.errors import ClientUnusable, InvalidArgument
from skep_shared.models import SessionInfo, SessionOptions, WorkerInfo
from skep_shared.settings import Settings

PAGE: Final = 200


class Cluster:
    """One shard, seen by a client."""

    def __init__(self, link: ShardLink, replies: ReplyReader) -> None:
        self._link = link
        self._replies = replies

    @property
    def settings(self) -> Settings:
        """The settings this client was connected with."""
        return self._link.settings

    def session(self, session_id: str, *, options: SessionOptions | None = None) -> Session:
        """Give a handle on a session, known or new; no I/O. `options` count when its first cell makes it.

        Raises InvalidArgument.
        """
        return Session(self._link, self._replies, session_id, options)

    def cell(self, session_id: str, cell_id: str) -> Cell:
        """Give a handle on a cell that anybody submitted; no I/O. Raises InvalidArgument."""
        return self.session(session_id).cell(cell_id)

    async def sessions(self) -> AsyncIterator[SessionInfo]:
        """Yield every session of the shard, oldest first. Raises RedisUnavailable."""
        link = self._link
        async for names in self._index(link.keys.sessions):
            hashes = await self._read_each([("HGETALL", link.keys.session(name)) for name in names])
            owners = [fields.get(b"owner", b"").decode() for fields in hashes]
            alive = await self._read_each([("EXISTS", link.keys.worker(owner)) for owner in owners])
            for name, fields, owner, is_alive in zip(names, hashes, owners, alive, strict=True):
                if fields:
                    yield SessionInfo.from_hash(name, fields, owner_alive=bool(owner) and bool(is_alive))

    async def workers(self) -> AsyncIterator[WorkerInfo]:
        """Yield every live worker of the shard, the one that beat longest ago first. Raises RedisUnavailable."""
        link = self._link
        async for names in self._index(link.keys.workers):
            markers = await self._read_each([("HMGET", link.keys.worker(name), "facts", "at") for name in names])
            for name, (facts, at) in zip(names, markers, strict=True):
                if facts is not None:
                    yield WorkerInfo.from_marker(name, facts, float(at))

    async def _index(self, key: str) -> AsyncIterator[list[str]]:
        start = 0
        while True:
            first = start
            page = await self._link.persist(lambda: self._link.redis.zrange(key, first, first + PAGE - 1))  # noqa: B023
            if page:
                yield [name.decode() for name in page]
            if len(page) < PAGE:
                return
            start += PAGE

    async def _read_each(self, commands: list[tuple[str, ...]]) -> list[Any]:
        async def read() -> list[Any]:
            async with self._link.redis.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                return cast("list[Any]", await cast("Awaitable[Any]", pipe.execute()))

        return await self._link.persist(read)


class Connecting:
    """What `connect` gives: `async with` it to get a Cluster, which is closed at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shard: OpenShard | None = None

    async def __aenter__(self) -> Cluster:
        """Connect. Raises InvalidArgument, RedisUnavailable, RedisRefused, RedisUnsuitable."""
        if self._shard is not None:
            raise ClientUnusable("it is open already: each `async with` needs a skep.connect() of its own")
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
        """Say how it is used."""
        raise ClientUnusable("`await skep.connect(…)` gives no client, `async with skep.connect(…) as cluster:` does")

    def __getattr__(self, name: str) -> NoReturn:
        """Say how it is used, should this be taken for the client."""
        if name in vars(Cluster):
            raise ClientUnusable("it is not open yet: `async with skep.connect(…) as cluster:` gives the cluster")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def connect(url: str | None = None, *, settings: Settings | None = None) -> Connecting:
    """Connect to the shard at `url` (redis://, rediss://, unix://, redis+sentinel://), else at SKEP_REDIS_URL.

    For `async with`, which raises RedisUnavailable, RedisRefused for credentials or permissions that don't suffice,
    RedisUnsuitable. Leaving cancels waits, never cells. The client belongs to the event loop and the process it was
    opened in; used in another one, or when it is closed, its calls raise ClientUnusable. Raises InvalidArgument.
    """
    if settings is None:
        settings = Settings.load(redis_url=url)
    elif url is not None:
        if not isinstance(url, str):
            raise InvalidArgument("url", url, "a URL is needed")
        settings = settings.model_copy(update={"redis_url": url})
    return Connecting(settings)


class OpenShard:
    """What a Cluster is made of, once the server has been found fit; for `async with`.

    Not a generator: asyncio.run closes those that nobody has left, all at once and in the middle of each other.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._parts: tuple[ShardLink, ReplyReader] | None = None

    async def __aenter__(self) -> tuple[ShardLink, ReplyReader]:
        """Connect and look at the server. Raises InvalidArgument, RedisUnavailable, RedisRefused, RedisUnsuitable."""
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
        """Close every connection; in a fork of the process that opened them, none."""
        if self._parts is not None:
            link, replies = self._parts
            await replies.aclose()
            await link.aclose()
