"""An embedded cluster: a real Redis and real workers, as child processes that end with this process."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from skep.cluster import Cluster, OpenShard
from skep.link import ShardLink
from skep.local.redis_server import RedisServer
from skep.local.supervision import supervised
from skep.local.worker_process import WorkerProcess
from skep.replies import ReplyReader
from skep_shared.environment import variable_of
from skep_shared.errors import InvalidArgument, StartError
from skep_shared.limits import check_tenant
from skep_shared.settings import Settings

__all__ = ["MAX_WORKERS", "EmbeddedCluster", "WorkerProcess", "embedded"]

MAX_WORKERS: Final = 64
# The Redis ends with its owner, so workers need not wait long for it; the caller's flags take precedence.
OWN_FLAGS: Final = ("--redis-outage-seconds", "15", "--grace-seconds", "2")
# Its cells are the owner's own code, which uses the owner's files and network.
NO_SANDBOX: Final = ("--sandbox", "none")


class EmbeddedCluster(Cluster):
    """A Cluster with its own servers: `redis_url` for other clients, `worker_processes` to observe or to kill."""

    def __init__(self, link: ShardLink, replies: ReplyReader, worker_processes: list[WorkerProcess]) -> None:
        super().__init__(link, replies)
        self.worker_processes: list[WorkerProcess] = worker_processes

    @property
    def redis_url(self) -> str:
        """The URL of the cluster's Redis, a unix socket."""
        return self.settings.redis_url


@asynccontextmanager
async def embedded(
    *,
    workers: int = 1,
    data_dir: Path | str | None = None,
    worker_flags: tuple[str, ...] = (),
    tenant: str | None = None,
) -> AsyncIterator[EmbeddedCluster]:
    """Start a Redis and `workers` workers, and connect to them.

    A worker that dies by itself is replaced; a worker that was stopped or killed by its WorkerProcess is not. After
    three deaths within 30 s every call that waits, and each later one, ends with StartError.
    With `data_dir` sessions are stored there and a later call continues them; without, all data is removed at the end.
    Sessions have no sandbox, unless `worker_flags` ("--sandbox", "auto") or SKEP_SANDBOX ask for one.
    tenant: as of `connect`. Raises InvalidArgument, StartError.
    """
    if tenant is not None:
        check_tenant(tenant)
    if type(workers) is not int or not 1 <= workers <= MAX_WORKERS:
        raise InvalidArgument("workers", workers, f"1 to {MAX_WORKERS}")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(RedisServer(data_dir=data_dir))
        # A worker that is killed can't remove its temporary files: they are in the server's directory and go with it.
        scratch = Path(server.socket_path).parent
        own_flags = (*OWN_FLAGS, *(NO_SANDBOX if variable_of("sandbox") is None else ()))
        processes = [
            WorkerProcess(
                server.url,
                flags=(*own_flags, *worker_flags),
                log_path=scratch / f"worker-{number}.log",
                temp_dir=scratch,
            )
            for number in range(workers)
        ]
        await start_all(processes, stack)
        link, replies = await stack.enter_async_context(OpenShard(Settings.load(redis_url=server.url, tenant=tenant)))
        await stack.enter_async_context(supervised(processes, link))
        yield EmbeddedCluster(link, replies, processes)


async def start_all(processes: Sequence[WorkerProcess], stack: AsyncExitStack) -> None:
    """Start workers, all at once; the stack stops them. Raises StartError."""
    for process in processes:
        stack.push_async_callback(process.stop)
    try:
        async with asyncio.TaskGroup() as group:
            for process in processes:
                group.create_task(process.start())
    except* StartError as failures:
        raise failures.exceptions[0] from None
