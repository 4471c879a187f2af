"""Celery, two prefork processes, Redis as broker and for results."""

import asyncio
from typing import Any

from celery import Celery
from queue_peer import SOCKET, script, serve_queue

URL = f"redis+socket://{SOCKET}?virtual_host=3"
app = Celery("celery_jobs", broker=URL, backend=URL)


@app.task(name="noop")
def noop() -> None:
    """Do nothing."""


async def start() -> None:
    """Connect, which Celery does by itself."""


async def submit() -> Any:
    """Send a job; the call blocks, as Celery's do."""
    return noop.delay()


async def result(job: Any) -> None:
    """Wait for its end."""
    await asyncio.sleep(0)
    job.get(timeout=60)


if __name__ == "__main__":
    serve_queue(
        [script("celery"), "-A", "celery_jobs", "worker", "--loglevel=WARNING", "--concurrency=2"],
        start,
        submit,
        result,
    )
