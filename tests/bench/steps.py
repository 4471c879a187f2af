"""Where a warm cell's time goes: from the call to the outcome, step by step, and the processor time of each process.

The clock is the machine's, read by the client, by Redis (MONITOR shows when each script began), and by the cell itself.
"""

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

from redis.asyncio import Redis

import skep
from skep_shared.broker.script_source import load_script

from .figures import Figure, Row
from .lab import Lab
from .processes import descendants

NAME = "steps"
ABOUT = "where a warm cell's time goes: call, submit.lua, the code, commit.lua, outcome; CPU of each process"
PEERS: tuple[str, ...] = ()

WATCH_SECONDS = 30.0
STEPS = (
    "call to submit.lua: client, one way to Redis",
    "submit.lua to the cell's code: Redis, worker, session process",
    "the code to commit.lua: checkpoint, session process, worker",
    "commit.lua to the outcome: Redis, client",
)


async def script_times(
    client: Redis, shas: tuple[str, str], cells: int, ready: asyncio.Event
) -> list[tuple[float, float]]:
    """Return when submit.lua and commit.lua began, for so many cells that come one by one."""
    times: list[tuple[float, float]] = []
    submitted = 0.0
    async with client.monitor() as monitor:
        ready.set()
        while len(times) < cells:
            entry = await monitor.next_command()
            if shas[0] in entry["command"]:
                submitted = entry["time"]
            elif shas[1] in entry["command"]:
                times.append((submitted, entry["time"]))
    return times


def cpu_us(pid: int) -> float:
    """Return the processor time that all threads of a process have used, in microseconds."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1000
    except FileNotFoundError:
        return 0.0


def who_is(pid: int) -> str:
    """Return the part of the system that a process is."""
    if pid == os.getpid():
        return "client"
    line = Path(f"/proc/{pid}/cmdline").read_bytes()
    for mark, name in ((b"redis-server", "Redis"), (b"zygote", "session process"), (b"skep_workers", "worker")):
        if mark in line:
            return name
    return "?"


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure the processor time first, undisturbed, and then the steps."""
    rounds = lab.pick(1000, 200)
    async with lab.cluster() as cluster, Redis.from_url(cluster.redis_url) as client:
        session = cluster.session("steps")
        (await session.run("from time import time as now")).raise_for_status()
        for _ in range(100):
            await session.run("1+1")
        yield await cpu_row(session, rounds)
        ready = asyncio.Event()
        shas = (load_script("submit").sha, load_script("commit").sha)
        watching = asyncio.create_task(script_times(client, shas, rounds, ready))
        await ready.wait()
        stamps = []
        for _ in range(rounds):
            called = time.time()
            outcome = await session.run("now()")
            stamps.append((called, outcome.value, time.time()))
        async with asyncio.timeout(WATCH_SECONDS):
            times = await watching
    steps: list[list[float]] = [[], [], [], []]
    for (called, ran, ended), (submitted, committed) in zip(stamps, times, strict=True):
        marks = (called, submitted, ran, committed, ended)
        for step, (begin, end) in zip(steps, pairwise(marks), strict=True):
            step.append((end - begin) * 1000)
    total = statistics.median((ended - called) * 1000 for called, _, ended in stamps)
    yield Row("`now()`, all of it, while MONITOR runs", Figure("skep", total, "ms"))
    for name, samples in zip(STEPS, steps, strict=True):
        figure = Figure.of("skep", samples)
        yield Row(name, figure, note=f"{figure.value / total:.0%} of it")


async def cpu_row(session: skep.Session, rounds: int) -> Row:
    """Return the processor time of one warm cell, and whose it is."""
    pids = [os.getpid(), *descendants(os.getpid())]
    before = {pid: cpu_us(pid) for pid in pids}
    for _ in range(rounds):
        await session.run("1+1")
    used = {pid: (cpu_us(pid) - before[pid]) / rounds for pid in pids}
    shares = ", ".join(
        f"{who_is(pid)} {used[pid]:.0f}" for pid in sorted(used, key=lambda pid: -used[pid]) if used[pid] >= 1
    )
    return Row("`1+1`, processor time of all processes", Figure("skep", sum(used.values()), "µs"), note=f"µs: {shares}")
