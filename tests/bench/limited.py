"""What limits cost in a warm cell: sessions with and without them take turns in short blocks of one run.

Compared are the processor times of worker and session process: on a busy machine the time from submit to outcome says
more about the others.
"""

import statistics
import time
from collections.abc import AsyncIterator
from itertools import pairwise

import skep

from .figures import Figure, Goal, Row
from .lab import Lab
from .neighbours import mechanisms
from .warm import warm_cells

NAME = "limited"
ABOUT = "a warm cell `1+1` in a session with seven limits, compared with one without"
PEERS: tuple[str, ...] = ()

BLOCK = 20
SEVEN = skep.Limits(
    memory_bytes=2**31,
    cpu_seconds=60,
    processes=200,
    workspace_bytes=2**30,
    workspace_files=10_000,
    output_bytes=10_000_000,
    wall_seconds=60,
)


class Contender:
    """A session, with the processor time of each of its blocks."""

    def __init__(self, session: skep.Session) -> None:
        self.session = session
        self.milliseconds: list[float] = []  # a cell, of worker and session process
        self.pid = 0

    async def begin(self) -> None:
        """Start its process, and run some cells."""
        self.pid = (await self.session.run("import os\nos.getpid()")).value
        await warm_cells(self.session, BLOCK)

    async def run_block(self, worker_pid: int) -> None:
        """Run and measure one block."""
        before = processor_clock(worker_pid) + processor_clock(self.pid)
        await warm_cells(self.session, BLOCK)
        used = processor_clock(worker_pid) + processor_clock(self.pid) - before
        self.milliseconds.append(used * 1000 / BLOCK)


def processor_clock(pid: int) -> float:
    """Return the processor time of a process, in seconds: clock_getcpuclockid(3)."""
    return time.clock_gettime(~pid << 3 | 2)


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure with each way to enforce limits."""
    blocks = lab.pick(200, 40)
    for value in mechanisms().values():
        async with lab.cluster("--cgroups", value) as cluster:
            [worker] = [worker.pid async for worker in cluster.workers()]
            plain = Contender(cluster.session("plain"))
            limited = Contender(cluster.session("limited", options=skep.SessionOptions(limits=SEVEN)))
            for contender in (plain, limited):
                await contender.begin()
            for number in range(blocks):
                for contender in (plain, limited) if number % 2 else (limited, plain):
                    await contender.run_block(worker)
        same = [after / before - 1 for before, after in pairwise(plain.milliseconds)]
        more = statistics.median(a / b for a, b in zip(limited.milliseconds, plain.milliseconds, strict=True)) - 1
        name = "cgroup-v1" if value == "v1" else "watch"
        yield Row(
            f"`1+1` with seven limits ({name})",
            Figure.of("with limits", limited.milliseconds, "ms of CPU"),
            Figure.of("without", plain.milliseconds, "ms of CPU"),
            goals=(Goal("median of with / without, in pairs of blocks, - 1", more, 0.03),),
            note=f"two blocks without limits differ by {statistics.median(map(abs, same)):.1%}",
        )
