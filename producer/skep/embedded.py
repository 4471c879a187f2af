"""A cluster of one's own: a real Redis and real workers, as child processes that end with this one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from skep.cluster import Cluster, OpenShard
from skep.link import ShardLink
from skep.redis_server import RedisServer
from skep.replies import ReplyReader
from skep.supervision import supervised
from skep.worker_process import WorkerProcess
from skep_shared.errors import InvalidArgument, StartError
from skep_shared.settings import Settings

__all__ = ["MAX_WORKERS", "EmbeddedCluster", "WorkerProcess", "embedded"]

MAX_WORKERS: Final = 64
# A worker whose Redis has gone with its owner has nobody to wait for; flags that are given count over these.
OWN_FLAGS: Final = ("--redis-outage-seconds", "15", "--grace-seconds", "2")


class EmbeddedCluster(Cluster):
    """A Cluster that has its servers with it: `redis_url` for others, `worker_processes` to look at or to kill."""

    def __init__(self, link: ShardLink, replies: ReplyReader, worker_processes: list[WorkerProcess]) -> None:
        super().__init__(link, replies)
        self.worker_processes = worker_processes

    @property
    def redis_url(self) -> str:
        """The URL of the cluster's Redis, a unix socket."""
        return self.settings.redis_url


@asynccontextmanager
async def embedded(
    *, workers: int = 1, data_dir: Path | str | None = None, worker_flags: tuple[str, ...] = ()
) -> AsyncIterator[EmbeddedCluster]:
    """Run a Redis and `workers` workers of one's own, and connect to them.

    A worker that dies by itself is replaced; one that is stopped or killed by its WorkerProcess is not. When workers
    die three times within 30 s, every call that waits, and each later one, ends with StartError.
    With `data_dir` sessions are kept there and a later call goes on from them; without, all of it is gone at the end.
    Raises InvalidArgument, StartError.
    """
    if type(workers) is not int or not 1 <= workers <= MAX_WORKERS:
        raise InvalidArgument("workers", workers, f"1 to {MAX_WORKERS}")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(RedisServer(data_dir=data_dir))
        # A worker that is killed can't remove its temporary files: they are in the server's directory and go with it.
        scratch = Path(server.socket_path).parent
        processes = [
            WorkerProcess(
                server.url,
                flags=(*OWN_FLAGS, *worker_flags),
                log_path=scratch / f"worker-{number}.log",
                temp_dir=scratch,
            )
            for number in range(workers)
        ]
        for process in processes:
            stack.push_async_callback(process.stop)
        try:
            async with asyncio.TaskGroup() as group:
                for process in processes:
                    group.create_task(process.start())
        except* StartError as failures:
            raise failures.exceptions[0] from None
        link, replies = await stack.enter_async_context(OpenShard(Settings.load(redis_url=server.url)))
        await stack.enter_async_context(supervised(processes, link))
        yield EmbeddedCluster(link, replies, processes)
