"""Which cluster a command works on: the one that was named, or one of its own."""

import asyncio
import secrets
import shlex
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from skep.cli.flags import Place
from skep.cli.screen import Screen
from skep.cluster import Cluster, OpenShard, connect
from skep.embedded import EmbeddedCluster, WorkerProcess, embedded
from skep.supervision import supervised
from skep_shared.connection import open_redis
from skep_shared.limits import check_prefix
from skep_shared.redis_url import redacted
from skep_shared.settings import Settings

# What still runs when the command has what it wanted has nobody left to run for.
EMBEDDED_FLAGS: Final = ("--grace-seconds", "1", "--redis-outage-seconds", "5")


@asynccontextmanager
async def named_cluster(place: Place) -> AsyncIterator[Cluster]:
    """Connect to the cluster of the flags, else of the environment, else of the defaults."""
    async with connect(settings=settings_of(place)) as cluster:
        yield cluster


@asynccontextmanager
async def own_cluster(screen: Screen, *, workers: int = 1, flags: Sequence[str] = ()) -> AsyncIterator[EmbeddedCluster]:
    """Start a Redis and workers; when the body fails or is cancelled they are ended at once, whatever runs."""
    screen.busy("starting Redis and a worker" if workers == 1 else f"starting Redis and {workers} workers")
    async with embedded(workers=workers, worker_flags=(*EMBEDDED_FLAGS, *flags)) as cluster:
        screen.idle()
        try:
            yield cluster
        except BaseException:
            await end_at_once(cluster.worker_processes)
            raise


def settings_of(place: Place) -> Settings:
    """Give a client's settings: flags, else the environment, else defaults. Raises InvalidArgument."""
    if place.prefix is not None:
        check_prefix(place.prefix)
    return Settings.load(redis_url=place.redis_url, prefix=place.prefix)


def flags_for(settings: Settings) -> str:
    """Give the flags, each with a blank before it, by which another command finds the same cluster."""
    default = Settings.load()
    words = []
    if settings.redis_url != default.redis_url:
        words += ["--redis", redacted(settings.redis_url)]
    if settings.prefix != default.prefix:
        words += ["--prefix", settings.prefix]
    return "".join(f" {shlex.quote(word)}" for word in words)


async def note_missing_worker(cluster: Cluster, screen: Screen) -> None:
    """Tell the user why nothing will happen, if no worker is alive."""
    async for _ in cluster.workers():
        return
    command = f"skep worker{flags_for(cluster.settings)}"
    screen.note(f"skep: no worker is alive there; cells wait until one is ({command})", "yellow")


async def end_at_once(processes: Sequence[WorkerProcess]) -> None:
    """Kill workers without a drain."""
    await asyncio.gather(*(process.kill() for process in processes))


@asynccontextmanager
async def own_workers(
    screen: Screen, place: Place, *, workers: int, flags: Sequence[str] = ()
) -> AsyncIterator[EmbeddedCluster]:
    """Start workers of one's own on a Redis of somebody else's, under a key prefix that is removed at the end."""
    settings = settings_of(place)
    settings = settings.model_copy(update={"prefix": f"{settings.prefix.strip('{}')}-{secrets.token_hex(4)}"})
    async with AsyncExitStack() as stack:
        link, replies = await stack.enter_async_context(OpenShard(settings))
        stack.push_async_callback(_remove_keys, settings)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skep-", ignore_cleanup_errors=True)))
        all_flags = (*EMBEDDED_FLAGS, "--prefix", settings.prefix, *flags)
        processes = [
            WorkerProcess(
                settings.redis_url, flags=all_flags, log_path=scratch / f"worker-{number}.log", temp_dir=scratch
            )
            for number in range(workers)
        ]
        screen.busy(f"starting {workers} workers")
        for process in processes:
            stack.push_async_callback(process.stop)
            await process.start()
        screen.idle()
        await stack.enter_async_context(supervised(processes, link))
        try:
            yield EmbeddedCluster(link, replies, processes)
        except BaseException:
            await end_at_once(processes)
            raise


async def _remove_keys(settings: Settings) -> None:
    redis = open_redis(settings)
    try:
        async for key in redis.scan_iter(match=f"{settings.prefix}:*", count=500):
            await redis.delete(key)
    finally:
        await redis.aclose()
