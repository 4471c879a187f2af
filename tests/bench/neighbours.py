"""What 20 sessions with light cells notice of one that takes all it can get, with each way to divide processor time.

Quiet blocks and blocks with the bomb take turns, so that whatever else the machine does disturbs both alike. The bomb
is a session with limits: what it starts ends with its cell, and it starts again until the block is over.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from time import perf_counter

import skep
from skep_workers.sandbox.kernel.control_groups import own_groups

from .figures import Figure, Goal, Row, percentile
from .lab import Lab
from .warm import CELL_SECONDS

NAME = "neighbours"
ABOUT = "20 sessions with light cells next to one that forks, fills memory, prints or keeps 16 processes busy"
PEERS: tuple[str, ...] = ()

NEIGHBOURS = 20
PAUSE_SECONDS = 0.2  # between the cells of a neighbour, on average
BUSY = """
import os, signal
for _ in range(15):
    if os.fork() == 0:
        while True: pass
while True: pass
"""
MEMORY = "parts = []\nwhile True: parts.append(bytearray(2**20) + b'x')"
FORK = "import os\nwhile True: os.fork()"
OUTPUT = "while True: print('x' * 1000)"
BOMBS = {"16 busy processes": BUSY, "memory": MEMORY, "fork": FORK, "output": OUTPUT}
LIMITS = skep.Limits(memory_bytes=256 * 2**20, processes=64, output_bytes=32 * 2**20, cpu_seconds=120)


def mechanisms() -> dict[str, str]:
    """Return the value of SKEP_CGROUPS for each way to divide processor time that this machine has."""
    groups = {group.controllers: group.is_writable for group in own_groups(1)}
    found = {"cgroup-v1": "v1"} if any(works and "cpu" in names for names, works in groups.items()) else {}
    return found | {_without_groups(): "none"}


def _without_groups() -> str:
    """Return what divides processor time without control groups: the kernel itself may do that between sessions."""
    autogroup = Path("/proc/sys/kernel/sched_autogroup_enabled")
    return "autogroup" if autogroup.exists() and autogroup.read_text().strip() == "1" else "nothing"


async def _neighbour(session: skep.Session, until: float, taken: list[float]) -> None:
    draw = random.Random(session.id)
    while perf_counter() < until:
        await asyncio.sleep(draw.uniform(0, 2 * PAUSE_SECONDS))
        started = perf_counter()
        outcome = await session.run("1+1", wait=CELL_SECONDS)
        taken.append((perf_counter() - started) * 1000)
        outcome.raise_for_status()


async def block(sessions: list[skep.Session], seconds: float) -> list[float]:
    """Return the milliseconds from submit to outcome of the neighbours' cells in a block."""
    taken: list[float] = []
    async with asyncio.TaskGroup() as group:
        for session in sessions:
            group.create_task(_neighbour(session, perf_counter() + seconds, taken))
    return taken


@contextlib.asynccontextmanager
async def bombing(session: skep.Session, code: str) -> AsyncIterator[None]:
    """Run a bomb again and again meanwhile."""

    async def run() -> None:
        while True:
            await session.run(code)

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await session.interrupt()
        await session.close(purge=True)


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure each bomb with each mechanism."""
    seconds, blocks = lab.pick((4.0, 4), (3.0, 2))
    for mechanism, value in mechanisms().items():
        async with lab.cluster("--cgroups", value) as cluster:
            sessions = [cluster.session(f"neighbour-{number}") for number in range(NEIGHBOURS)]
            await block(sessions, 1.0)
            for bomb, code in BOMBS.items():
                quiet: list[float] = []
                disturbed: list[float] = []
                for number in range(blocks):
                    quiet += await block(sessions, seconds)
                    hostile = cluster.session(
                        f"hostile-{bomb.split()[0]}-{number}", options=skep.SessionOptions(limits=LIMITS)
                    )
                    await hostile.run("kept = 1")
                    async with bombing(hostile, code):
                        disturbed += await block(sessions, seconds)
                ratio = percentile(disturbed, 99) / percentile(quiet, 99)
                yield Row(
                    f"{bomb}, processor time divided by {mechanism}",
                    Figure.of("with the bomb", disturbed),
                    Figure.of("without", quiet),
                    goals=(Goal("p99 / p99 without the bomb", ratio, 2.0),) if value != "none" else (),
                    note="" if value != "none" else f"p99 / p99 without: {ratio:.2f}",
                )
