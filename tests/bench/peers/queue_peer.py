"""What the job queues' scripts share: a worker process of their own, one job after the other, and many at once."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from serving import serve

SOCKET = os.environ["PEER_REDIS_SOCKET"]
WARM_UP_JOBS = 30
AT_ONCE = 100
STOP_SECONDS = 3.0


def script(name: str) -> str:
    """Return the path of a command of this environment."""
    return str(Path(sys.executable).parent / name)


def serve_queue(
    worker: Sequence[str],
    start: Callable[[], Awaitable[Any]],
    submit: Callable[[], Awaitable[Any]],
    result: Callable[[Any], Awaitable[Any]],
) -> None:
    """Answer `one` and `many`; the worker is started with the first question.

    start: connect. submit: send a no-op job and return its handle. result: wait until a handle's job is done.
    """
    processes: list[subprocess.Popen[bytes]] = []

    async def prepare() -> None:
        processes.append(subprocess.Popen(worker, stdin=subprocess.DEVNULL, stdout=sys.stderr))
        await asyncio.sleep(3)  # some sweep when they start, and abort what they find
        await start()
        for _ in range(WARM_UP_JOBS):
            await result(await submit())

    async def one(rounds: int) -> list[float]:
        taken = []
        for _ in range(rounds):
            started = time.perf_counter()
            await result(await submit())
            taken.append((time.perf_counter() - started) * 1000)
        return taken

    async def many(count: int) -> float:
        started = time.perf_counter()
        jobs: list[Any] = []
        for first in range(0, count, AT_ONCE):
            jobs += await asyncio.gather(*(submit() for _ in range(min(AT_ONCE, count - first))))
        for first in range(0, count, AT_ONCE):
            await asyncio.gather(*(result(job) for job in jobs[first : first + AT_ONCE]))
        return count / (time.perf_counter() - started)

    def close() -> None:
        for process in processes:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    serve({"prepare": prepare, "one": one, "many": many, "close": close})
