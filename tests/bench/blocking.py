"""A warm cell through the blocking client, compared with the asynchronous one in the same run."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import skep.sync

from .figures import Figure, Goal, Row
from .lab import Lab
from .warm import CELL_SECONDS, warm_cells

NAME = "blocking"
ABOUT = "a warm cell `1+1` through skep.sync and through the asynchronous client"
PEERS: tuple[str, ...] = ()
THREADS = 8


def blocking_cells(session: skep.sync.Session, rounds: int) -> list[float]:
    """Return the milliseconds from submit to outcome of cells, each waited for by this thread."""
    taken = []
    for _ in range(rounds):
        started = perf_counter()
        outcome = session.run("1+1", wait=CELL_SECONDS)
        taken.append((perf_counter() - started) * 1000)
        outcome.raise_for_status()
    return taken


def threads_cells(cluster: skep.sync.Cluster, rounds: int) -> float:
    """Return the cells per second of threads that share a client, each with a session of its own."""
    sessions = [cluster.session(f"thread-{number}") for number in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda session: blocking_cells(session, 5), sessions))
        started = perf_counter()
        list(pool.map(lambda session: blocking_cells(session, rounds), sessions))
    return THREADS * rounds / (perf_counter() - started)


async def tasks_cells(cluster: skep.Cluster, rounds: int) -> float:
    """Return the cells per second of as many tasks, each with a session of its own."""
    sessions = [cluster.session(f"task-{number}") for number in range(THREADS)]
    await asyncio.gather(*(warm_cells(session, 5) for session in sessions))
    started = perf_counter()
    await asyncio.gather(*(warm_cells(session, rounds) for session in sessions))
    return THREADS * rounds / (perf_counter() - started)


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure in blocks that take turns, so that whatever else the machine does disturbs both alike."""
    rounds, blocks = lab.pick((200, 10), (50, 4))
    asynchronous: list[float] = []
    blocking: list[float] = []
    async with lab.cluster() as cluster:
        opening = skep.sync.connect(settings=cluster.settings)
        other = await asyncio.to_thread(opening.open)
        session, same = cluster.session("warm"), await asyncio.to_thread(other.session, "warm")
        await warm_cells(session, rounds)
        await asyncio.to_thread(blocking_cells, same, rounds)
        for _ in range(blocks):
            asynchronous += await warm_cells(session, rounds)
            blocking += await asyncio.to_thread(blocking_cells, same, rounds)
        by_tasks = await tasks_cells(cluster, rounds)
        by_threads = await asyncio.to_thread(threads_cells, other, rounds)
        await asyncio.to_thread(opening.close)
    ours, base = Figure.of("skep.sync", blocking), Figure.of("asynchronous", asynchronous)
    yield Row("`1+1`", ours, base, goals=(Goal("p50 / the asynchronous client's", ours.value / base.value, 1.5),))
    yield Row(
        f"{THREADS} threads at once, as {THREADS} tasks",
        Figure("skep.sync", by_threads, "/s"),
        Figure("asynchronous", by_tasks, "/s"),
        goals=(Goal("of the asynchronous client's", by_threads / by_tasks, 0.5, at_least=True),),
    )
