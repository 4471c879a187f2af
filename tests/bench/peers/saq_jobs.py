"""SAQ, waiting for each job's end by its publish/subscribe, which is its fastest way."""

from typing import Any

from queue_peer import SOCKET, script, serve_queue
from redis.asyncio import Redis
from saq.job import Job
from saq.queue.redis import RedisQueue

LOOK_AGAIN_SECONDS = 0.3  # it looks, then subscribes: a job that ends in between is found by the next look
queue = RedisQueue(Redis(unix_socket_path=SOCKET, db=2))


async def noop(ctx: dict[str, Any]) -> int:
    """Do nothing."""
    return 1


settings = {"queue": queue, "functions": [noop]}


async def start() -> None:
    """Connect."""
    await queue.connect()


async def submit() -> Job:
    """Send a job."""
    job = await queue.enqueue("noop")
    assert job is not None
    return job


async def result(job: Job) -> None:
    """Wait for its end."""
    while not job.completed:
        try:
            await job.refresh(until_complete=LOOK_AGAIN_SECONDS)
        except TimeoutError:
            await job.refresh()


if __name__ == "__main__":
    serve_queue([script("saq"), "saq_jobs.settings", "--quiet"], start, submit, result)
