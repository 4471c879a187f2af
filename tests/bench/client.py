"""A client process: submits cells to its sessions and waits for all outcomes.

python -m tests.bench.client URL
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import skep

from .peers.serving import serve

BATCH = 1000


async def submit_and_wait(session: skep.Session, code: str, cells: int) -> list[float]:
    """Submit in batches and wait for every outcome; gives when each one was here, on the monotonic clock."""
    ends: list[float] = []

    async def wait(cell: skep.Cell) -> None:
        (await cell.outcome()).raise_for_status()
        ends.append(time.monotonic())

    async with asyncio.TaskGroup() as group:
        for first in range(0, cells, BATCH):
            for cell in await session.submit_many([code] * min(BATCH, cells - first)):
                group.create_task(wait(cell))
    return ends


async def submit_singly(session: skep.Session, code: str, cells: int, at_once: int = 200) -> None:
    """Submit each cell by a call of its own, many at a time, and wait for every outcome."""
    slots = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with slots:
            (await session.run(code)).raise_for_status()

    async with asyncio.TaskGroup() as group:
        for _ in range(cells):
            group.create_task(one())


def _handlers(url: str) -> dict[str, Callable[..., Any]]:
    async def warm(sessions: list[str], code: str) -> None:
        async with skep.connect(url) as cluster:
            for name in sessions:
                (await cluster.session(name).run(code)).raise_for_status()

    async def run(sessions: list[str], code: str, cells: int, begin_at: float = 0.0) -> dict[str, Any]:
        """Run all cells of all sessions at once; return when each session's last and median outcomes arrived.

        The first cell of each session waits until `begin_at` (monotonic), so that sessions submitted first have no lead.
        """
        async with skep.connect(url) as cluster:
            for name in sessions:  # connections and scripts are there before the clock starts
                await cluster.session(name).info()
            started = max(time.monotonic(), begin_at)
            if begin_at:
                wait = f"import time; time.sleep(max(0, {begin_at!r} - time.monotonic()))"
                await asyncio.gather(*(cluster.session(name).submit(wait) for name in sessions))
            runs = (submit_and_wait(cluster.session(name), code, cells) for name in sessions)
            ends = await asyncio.gather(*runs)
        last = {name: max(times) for name, times in zip(sessions, ends, strict=True)}
        median = {name: statistics.median(times) for name, times in zip(sessions, ends, strict=True)}
        return {"started": started, "last": last, "median": median}

    return {"warm": warm, "run": run}


if __name__ == "__main__":
    serve(_handlers(sys.argv[1]))
