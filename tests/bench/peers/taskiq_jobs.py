"""taskiq on Redis streams, looking for results every millisecond instead of every 200."""

from typing import Any

from queue_peer import SOCKET, script, serve_queue
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

URL = f"unix://{SOCKET}?db=4"
LOOK_SECONDS = 0.001
backend: RedisAsyncResultBackend[Any] = RedisAsyncResultBackend(redis_url=URL)
broker = RedisStreamBroker(url=URL).with_result_backend(backend)


@broker.task(task_name="noop")
async def noop() -> None:
    """Do nothing."""


if __name__ == "__main__":
    serve_queue(
        [script("taskiq"), "worker", "taskiq_jobs:broker", "--workers", "1", "--log-level", "WARNING"],
        start=broker.startup,
        submit=lambda: noop.kiq(),  # noqa: PLW0108 - bound late, as a task of the broker
        result=lambda task: task.wait_result(timeout=60, check_interval=LOOK_SECONDS),
    )
