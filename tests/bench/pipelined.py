"""Cells that don't wait for each other, in one session on one worker, compared with no-op jobs of job queues."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from time import perf_counter
from urllib.parse import urlsplit

import skep

from .children import ChildFailed
from .client import submit_and_wait, submit_singly
from .figures import Figure, Goal, Row
from .floors import bare_queue
from .lab import Lab
from .processes import cpu_seconds

NAME = "pipelined"
ABOUT = "cells per second of one session on one worker, beside job queues"
QUEUES = ("arq", "saq", "celery", "taskiq")
PEERS: tuple[str, ...] = ("notebooks", *QUEUES)


async def rate(session: skep.Session, code: str, cells: int) -> float:
    """Return the cells per second of one session, submitted in batches."""
    started = perf_counter()
    await submit_and_wait(session, code, cells)
    return cells / (perf_counter() - started)


async def single_rate(session: skep.Session, code: str, cells: int) -> float:
    """Return the cells per second of one session, each submitted by a call of its own."""
    started = perf_counter()
    await submit_singly(session, code, cells)
    return cells / (perf_counter() - started)


async def _cpu_per_cell(cluster: skep.EmbeddedCluster, session: skep.Session, cells: int) -> str:
    """Report the CPU time of each process for a cell, which, unlike cells per second, depends little on the machine's load."""
    pids = {
        "worker": cluster.worker_processes[0].pid,
        "session": int((await session.run("import os; os.getpid()")).value),
        "client": os.getpid(),
        "Redis": int((await cluster._link.redis.info("server"))["process_id"]),
    }
    before = {who: cpu_seconds(pid) for who, pid in pids.items()}
    await rate(session, "1+1", cells)
    spent = {who: (cpu_seconds(pid) - before[who]) / cells * 1e6 for who, pid in pids.items()}
    return "CPU µs per cell: " + ", ".join(f"{who} {used:.0f}" for who, used in spent.items())


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure ours and the queues on one Redis, one after the other."""
    cells, repeats = lab.pick((5_000, 3), (1_000, 2))
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(lab.cluster())
        floor = await bare_queue(lab, cluster.redis_url, cells)
        session = cluster.session("pipelined")
        await rate(session, "1+1", 500)
        ours = Figure.of("skep", [await rate(session, "1+1", cells) for _ in range(repeats)], "/s")
        spent = await _cpu_per_cell(cluster, session, cells)
        noop = Figure.of("skep", [await rate(session, "pass", cells) for _ in range(repeats)], "/s")
        singly = Figure.of("skep", [await single_rate(session, "1+1", cells // 2) for _ in range(repeats)], "/s")
        unsaved = cluster.session("unsaved", options=skep.SessionOptions(durability="none"))
        await rate(unsaved, "1+1", 500)
        bare = Figure.of("skep", [await rate(unsaved, "1+1", cells) for _ in range(repeats)], "/s")
        many, alone, notes = await _queues(lab, cluster.redis_url)
        kernel, trouble = await lab.try_peer(stack, "notebooks", "notebook_kernel")
        kernels: tuple[Figure, ...] = ()
        if kernel is not None:
            cells_per_second = await kernel.try_ask("pipelined", count=lab.pick(500, 100))
            kernels = () if cells_per_second is None else (Figure("ipykernel", cells_per_second, "/s"),)
    goals = [Goal("cells/s", ours.value, 8000.0, at_least=True)]
    if many:
        fastest = max(many, key=lambda figure: figure.value)
        goals.append(Goal(f"times {fastest.who}", ours.value / fastest.value, 4.0, at_least=True))
    yield Row(
        "`1+1`, submitted in batches",
        ours,
        floor,
        (*many, *kernels),
        tuple(goals),
        "; ".join(filter(None, [spent, *notes, trouble])),
    )
    yield Row("`pass`, submitted in batches", noop, floor, many)
    yield Row("`1+1`, 200 single submits at a time", singly, floor, many)
    yield Row("`1+1`, durability none", bare, floor)
    if alone:
        yield Row("queues' no-op jobs, one after the other", peers=alone, note="beside `warm`")


async def _queues(lab: Lab, url: str) -> tuple[tuple[Figure, ...], tuple[Figure, ...], list[str]]:
    """Return each queue's jobs per second and its round trips, and why one is missing."""
    many, alone, notes = [], [], []
    jobs, rounds = lab.pick((1000, 100), (300, 20))
    for name in QUEUES:
        async with AsyncExitStack() as stack:
            queue, trouble = await lab.try_peer(stack, name, f"{name}_jobs", PEER_REDIS_SOCKET=urlsplit(url).path)
            if queue is None:
                notes.append(trouble)
                continue
            try:
                await queue.ask("prepare", seconds=60)
                alone.append(Figure.of(name, await queue.ask("one", rounds=rounds)))
                many.append(Figure.of(name, [await queue.ask("many", count=jobs) for _ in range(lab.pick(3, 2))], "/s"))
            except (ChildFailed, TimeoutError) as exc:
                notes.append(f"{name}: {exc!r}")
    return tuple(many), tuple(alone), notes
