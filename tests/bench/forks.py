"""Forks of a large session: what ten of them cost in memory and time, live and restored."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import skep

from .figures import Figure, Goal, Row
from .lab import Lab
from .processes import descendants, pss_megabytes
from .warm import CELL_SECONDS

NAME = "forks"
ABOUT = "ten forks of a session with 1 GB: memory added and time, beside ten restores"
PEERS: tuple[str, ...] = ()

FORKS = 10
FIRST_CELL = "import time; time.monotonic()"
ROOM_PER_RESTORE = 3.0  # a restore has a chunk twice for a while


@dataclass(frozen=True, slots=True)
class Made:
    """Forks that are there: how many are live, ms until the first cell ran and had its outcome, MB added by all."""

    live: int
    started: list[float]
    ended: list[float]
    added_megabytes: float


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure one large array, then many small objects, which collections and counted references touch."""
    megabytes = lab.pick(1000, 100)
    states = [
        (f"{megabytes} MB in a bytearray", f"import os; large = bytearray(os.urandom({megabytes * 1_000_000}))"),
        (f"{megabytes * 1000:,} small dicts", f"large = [{{'n': n}} for n in range({megabytes * 1000})]"),
    ]
    if find_spec("numpy"):
        array = f"import numpy as np; large = np.random.default_rng(1).random({megabytes * 125_000})"
        states[0] = (f"{megabytes} MB in an array", array)
    for what, code in states:
        flags = ("--preload", "numpy") if "numpy" in code else ()
        async with lab.cluster(*flags) as cluster:
            async for row in _measure(cluster, what, code):
                yield row


async def _measure(cluster: skep.EmbeddedCluster, what: str, code: str) -> AsyncIterator[Row]:
    before = _memory(cluster)
    source = cluster.session("source")
    (await source.run(code, wait=CELL_SECONDS)).raise_for_status()
    (await source.run("1", wait=CELL_SECONDS)).raise_for_status()  # releases the memory that creating it took
    size = _memory(cluster) - before
    live = await _forks(cluster, source, FORKS)
    await source.hibernate()
    count = min(FORKS, int(_available_megabytes() / (ROOM_PER_RESTORE * size)))
    restored = await _forks(cluster, source, count)

    added = Figure("live", live.added_megabytes, "MB")
    others = Figure("restored", restored.added_megabytes, "MB")
    share = live.added_megabytes / FORKS / (restored.added_megabytes / count)
    yield Row(
        f"{what}: memory that {FORKS} forks add", added, None, (others,),
        (
            Goal("times what a restore adds, each", share, 0.5),
            *([Goal("times the session's own", live.added_megabytes / size, 1.0)] if "dicts" not in what else []),
            Goal("of them live", live.live, FORKS, at_least=True),
        ),
        f"the session has {size:,.0f} MB; restored: {count} forks",
    )  # fmt: skip
    for name, mine, theirs in (
        ("until a fork's first cell runs", live.started, restored.started),
        ("a fork's first cell, with its checkpoint", live.ended, restored.ended),
    ):
        mine_figure, theirs_figure = Figure.of("live", mine), Figure.of("restored", theirs)
        goals = (Goal("times a restore's", mine_figure.value / theirs_figure.value, 1.0),)
        yield Row(f"{what}: {name}", mine_figure, None, (theirs_figure,), goals)


async def _forks(cluster: skep.EmbeddedCluster, source: skep.Session, count: int) -> Made:
    before = _memory(cluster)
    forks = await source.fork_many([f"fork-{time.monotonic_ns()}-{number}" for number in range(count)])
    started, ended = [], []
    for fork in forks:
        asked = time.monotonic()
        outcome = await fork.run(FIRST_CELL, wait=CELL_SECONDS)
        outcome.raise_for_status()
        started.append((outcome.value - asked) * 1000)
        ended.append((time.monotonic() - asked) * 1000)
    await asyncio.sleep(0.5)  # the last snapshot's child may be on its way out
    added = _memory(cluster) - before
    live = 0
    for fork in forks:
        live += sum([event.is_live async for event in fork.events() if event.kind == "session.restored"])
        await fork.close(purge=True)
    return Made(live, started, ended, added)


def _memory(cluster: skep.EmbeddedCluster) -> float:
    """Return the MB that all session processes have together, what they share counted once."""
    total = 0.0
    for worker in cluster.worker_processes:
        _zygote, *sessions = descendants(worker.pid)
        for pid in sessions:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                total += pss_megabytes(pid)
    return total


def _available_megabytes() -> float:
    meminfo = Path("/proc/meminfo").read_text()
    return int(meminfo.partition("MemAvailable:")[2].split()[0]) * 1024 / 1e6
