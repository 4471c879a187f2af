"""Redis away in the middle of running cells: which of them commit, how often, and what is left of the namespaces.

Each session has an object that no checkpoint can hold, so that a namespace that went and came back shows. Half of the
cells end while Redis is away, the others when it is back. Redis is cut off from one worker, with or without a
second worker; frozen; killed and started again on its append-only file.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.chaos.soak.proxy import Link, Ruler
from tests.integration.conftest import StoppableRedis

import skep
from skep.local.embedded import WorkerProcess

from .figures import Figure, Goal, Row
from .interrupts import wait_for_word
from .lab import Lab

NAME = "outage"
ABOUT = "20 cells run while their worker loses Redis for 30 s: each commits once, the namespaces are kept"
PEERS: tuple[str, ...] = ()

SESSIONS = 20
SETUP = "import threading, time\nkept = threading.Lock()\nn = 0"
CELL = "print('word')\ntime.sleep({seconds})\nn += 1\nn"
OUTCOME_SECONDS = 60.0


@dataclass
class Seen:
    """What came of the cells of one case."""

    finished: int = 0  # with the value that is due
    committed: Counter[int] | None = None  # cells by how often their end is in the stream
    kept: int = 0  # namespaces that are the same, with all that no checkpoint holds
    restored: int = 0  # namespaces that came back from their checkpoint
    again: int = 0
    back_to_end: tuple[float, ...] = ()


@dataclass
class Place:
    """Where a case happens."""

    redis: StoppableRedis
    link: Link  # the first worker's way to Redis
    seconds: float


async def cut(place: Place) -> None:
    """Block everything between the worker and Redis."""
    place.link.cut(place.seconds)
    await asyncio.sleep(place.seconds)


async def freeze(place: Place) -> None:
    """Stop Redis where it stands."""
    place.redis.freeze()
    try:
        await asyncio.sleep(place.seconds)
    finally:
        place.redis.thaw()


async def kill(place: Place) -> None:
    """Kill Redis, and start it again on what its file says."""
    place.redis.kill()
    await asyncio.sleep(place.seconds)
    await place.redis.start()


CASES: tuple[tuple[str, Callable[[Place], Awaitable[None]], int], ...] = (
    ("cut off from the only worker", cut, 1),
    ("cut off from one of two workers", cut, 2),
    ("frozen", freeze, 2),
    ("killed and started again", kill, 2),
)


async def run_case(lab: Lab, number: int, hurt: Callable[[Place], Awaitable[None]], workers: int) -> Seen:
    """Run the cells of one case on a Redis of its own; all of them are on the first worker."""
    seconds = lab.pick(30.0, 6.0)
    directory = lab.directory / f"outage-{number}"
    directory.mkdir()
    redis = StoppableRedis(directory)
    await redis.start()
    link = Link("worker", directory / "redis.sock", Ruler())
    await link.open()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(redis.kill)
        stack.push_async_callback(link.close)
        await _start_worker(stack, link.url, directory)
        cluster = await stack.enter_async_context(skep.connect(redis.url))
        sessions = [cluster.session(f"s-{n}") for n in range(SESSIONS)]
        for session in sessions:
            (await session.run(SETUP)).raise_for_status()
        for _ in range(workers - 1):
            await _start_worker(stack, redis.url, directory)
        lengths = [seconds * (0.5 if n % 2 else 1.2) for n in range(SESSIONS)]
        cells = [
            await session.submit(CELL.format(seconds=length)) for session, length in zip(sessions, lengths, strict=True)
        ]
        await asyncio.gather(*(wait_for_word(cell) for cell in cells))
        await hurt(Place(redis, link, seconds))
        return await look(sessions, cells)


async def _start_worker(stack: contextlib.AsyncExitStack, url: str, directory: Path) -> None:
    worker = WorkerProcess(url, log_path=directory / "worker.log", temp_dir=directory)
    stack.push_async_callback(worker.stop)
    await worker.start()


async def look(sessions: list[skep.Session], cells: list[skep.Cell]) -> Seen:
    """Return what came of it, from now on."""
    back = monotonic()
    seen = Seen(committed=Counter())
    assert seen.committed is not None

    async def end(cell: skep.Cell) -> tuple[skep.Outcome, float]:
        return await cell.outcome(timeout=OUTCOME_SECONDS), monotonic()

    ended = await asyncio.gather(*(end(cell) for cell in cells))
    seen.back_to_end = tuple(at - back for _, at in ended)
    for session, cell, (outcome, _) in zip(sessions, cells, ended, strict=True):
        seen.finished += (outcome.ok, outcome.value) == (True, 1)
        seen.again += outcome.attempt > 1
        after = await session.run("(n, 'kept' in globals())", wait=OUTCOME_SECONDS)
        count, is_same = after.value if after.ok else (None, False)
        seen.kept += (count, is_same) == (1, True)
        seen.restored += (count, is_same) == (1, False)
        ends = [event async for event in session.events() if event.kind == "cell.finished"]
        seen.committed[sum(event.cell_id == cell.id for event in ends)] += 1
    return seen


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Go through the cases."""
    for number, (what, hurt, workers) in enumerate(CASES):
        seen = await run_case(lab, number, hurt, workers)
        assert seen.committed is not None
        goals = (
            Goal("finished with its value", seen.finished, SESSIONS, at_least=True),
            Goal("committed once", seen.committed[1], SESSIONS, at_least=True),
            Goal("namespaces", seen.kept + seen.restored, SESSIONS, at_least=True),
        )
        note = f"namespaces untouched {seen.kept}, restored {seen.restored}; cells run again {seen.again}"
        last = Figure("last end after its return", max(seen.back_to_end), "s")
        yield Row(f"Redis {what}", last, None, (), goals, note)
