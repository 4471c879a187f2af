"""The way in: connect to a shard, get handles, list what is there."""

import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from skep.cell import Cell
from skep.link import ShardLink
from skep.replies import ReplyReader
from skep.session import Session
from skep.why import Standstill, explain
from skep_shared.errors import InvalidArgument, NotFound
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

    async def why(self, session_id: str) -> Standstill:
        """Return why nothing of a session runs. Raises InvalidArgument, NotFound, RedisUnavailable."""
        try:
            info = await self.session(session_id).info()
        except NotFound:
            info = None
        return await explain(self._link, session_id, info, self.workers())

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


@asynccontextmanager
async def connect(url: str | None = None, *, settings: Settings | None = None) -> AsyncIterator[Cluster]:
    """Connect to the shard at `url` (redis://, rediss://, unix://, redis+sentinel://), else at SKEP_REDIS_URL.

    Raises InvalidArgument, RedisUnavailable, RedisUnsuitable. Leaving cancels waits, never cells.
    """
    if settings is None:
        settings = Settings.load(redis_url=url)
    elif url is not None:
        if not isinstance(url, str):
            raise InvalidArgument("url", url, "a URL is needed")
        settings = settings.model_copy(update={"redis_url": url})
    async with open_shard(settings) as (link, replies):
        yield Cluster(link, replies)


@asynccontextmanager
async def open_shard(settings: Settings) -> AsyncIterator[tuple[ShardLink, ReplyReader]]:
    """Give what a Cluster is made of, once the server has been found fit."""
    link = ShardLink(settings)
    replies = ReplyReader(link, uuid.uuid4().hex)
    try:
        await link.check()
        yield link, replies
    finally:
        await replies.aclose()
        await link.aclose()
