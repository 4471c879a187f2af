"""A shard of one's own on an existing Redis: workers under a new key prefix, whose keys are removed at the end."""

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from skep.cluster import OpenShard
from skep.local.embedded import EmbeddedCluster, start_all
from skep.local.supervision import supervised
from skep.local.worker_process import WorkerProcess
from skep_shared.broker.redis_client.connection import open_redis
from skep_shared.settings import Settings


def with_own_prefix(settings: Settings) -> Settings:
    """Return these settings with a new prefix that begins with theirs. All keys are in one slot of a Redis Cluster."""
    name = f"{settings.prefix.strip('{}')}-{secrets.token_hex(4)}"
    return settings.model_copy(update={"prefix": f"{{{name}}}"})


@asynccontextmanager
async def private_shard(
    settings: Settings, *, workers: int, flags: Sequence[str] = (), reads_environment: bool = True
) -> AsyncIterator[EmbeddedCluster]:
    """Start workers on the Redis and the prefix of these settings; remove all keys of that prefix at the end.

    If the body fails or is cancelled, the workers are killed at once. reads_environment: whether SKEP_* variables set
    workers' settings. Raises StartError, RedisUnavailable, RedisRefused, RedisUnsuitable.
    """
    async with AsyncExitStack() as stack:
        link, replies = await stack.enter_async_context(OpenShard(settings))
        stack.push_async_callback(_remove_keys, settings)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skep-", ignore_cleanup_errors=True)))
        processes = [
            WorkerProcess(
                settings.redis_url,
                flags=(*flags, "--prefix", settings.prefix),
                log_path=scratch / f"worker-{number}.log",
                temp_dir=scratch,
                reads_environment=reads_environment,
            )
            for number in range(workers)
        ]
        await start_all(processes, stack)
        await stack.enter_async_context(supervised(processes, link))
        try:
            yield EmbeddedCluster(link, replies, processes)
        except BaseException:
            await end_at_once(processes)
            raise


async def end_at_once(processes: Sequence[WorkerProcess]) -> None:
    """Kill workers without a drain."""
    await asyncio.gather(*(process.kill() for process in processes))


async def _remove_keys(settings: Settings) -> None:
    redis = open_redis(settings)
    try:
        for pattern in (f"{settings.prefix}:*", f"arq:*:{settings.prefix}:*"):
            async for key in redis.scan_iter(match=pattern, count=500):
                await redis.delete(key)
    finally:
        await redis.aclose()
