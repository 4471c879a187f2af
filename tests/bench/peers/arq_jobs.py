"""arq, polling every 10 ms on both sides instead of every 0.5 s."""

from typing import Any, ClassVar

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from queue_peer import SOCKET, script, serve_queue

POLL_SECONDS = 0.01
REDIS = RedisSettings(unix_socket_path=SOCKET, database=1)


async def noop(ctx: dict[str, Any]) -> None:
    """Do nothing."""


class WorkerSettings:
    """The worker's."""

    functions: ClassVar = [noop]
    redis_settings = REDIS
    poll_delay = POLL_SECONDS


if __name__ == "__main__":
    pools: list[ArqRedis] = []

    async def start() -> None:
        """Connect."""
        pools.append(await create_pool(REDIS))

    serve_queue(
        [script("arq"), "arq_jobs.WorkerSettings"],
        start,
        submit=lambda: pools[0].enqueue_job("noop"),
        result=lambda job: job.result(timeout=60, poll_delay=POLL_SECONDS),
    )
