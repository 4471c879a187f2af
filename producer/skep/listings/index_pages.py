"""Reads whole indexes of a shard, page by page, and the workers in them."""

from collections.abc import AsyncIterator, Awaitable
from typing import Any, Final, cast

from skep.link import ShardLink
from skep_shared.models import WorkerInfo

PAGE: Final = 200


async def index_pages(link: ShardLink, key: str) -> AsyncIterator[list[str]]:
    """Yield the members of an index, in pages. Raises RedisUnavailable."""
    start = 0
    while True:
        first = start
        page = await link.persist(lambda: link.redis.zrange(key, first, first + PAGE - 1))  # noqa: B023
        if page:
            yield [name.decode() for name in page]
        if len(page) < PAGE:
            return
        start += PAGE


async def read_each(link: ShardLink, commands: list[tuple[str, ...]]) -> list[Any]:
    """Return the replies of commands that only read, in one round trip. Raises RedisUnavailable."""

    async def read() -> list[Any]:
        async with link.redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return cast("list[Any]", await cast("Awaitable[Any]", pipe.execute()))

    return await link.persist(read)


async def live_workers(link: ShardLink) -> AsyncIterator[WorkerInfo]:
    """Yield every live worker of the shard, the oldest heartbeat first. Raises RedisUnavailable."""
    async for names in index_pages(link, link.keys.workers):
        markers = await read_each(link, [("HMGET", link.keys.worker(name), "facts", "at") for name in names])
        for name, (facts, at) in zip(names, markers, strict=True):
            if facts is not None:
                yield WorkerInfo.from_marker(name, facts, float(at))
