"""A rolling restart under load: three workers get SIGTERM one after the other, each is followed by a new one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from time import perf_counter

import skep
from skep.local.embedded import WorkerProcess

from .counters import Counters, Tally
from .figures import Figure, Goal, Row, percentile
from .lab import Lab

NAME = "rolling"
ABOUT = "a rolling restart of three workers under load: errors, cells lost or run again, the latency of cells"
PEERS: tuple[str, ...] = ()

WORKERS, CLIENTS, CALLERS, SESSIONS = 3, 3, 12, 60
PAUSE_SECONDS = 0.25
SLOW_SHARE = 0.05  # of the cells take a fifth of a second, so that drains have something to wait for
GRACE_FLAGS = ("--grace-seconds", "20")


async def restart_each(lab: Lab, cluster: skep.EmbeddedCluster, new: list[WorkerProcess]) -> list[int]:
    """Return the exit statuses of the workers that were there."""
    statuses = []
    for worker in cluster.worker_processes:
        successor = WorkerProcess(
            cluster.redis_url, flags=GRACE_FLAGS, log_path=lab.directory / "rolling.log", temp_dir=lab.directory
        )
        new.append(successor)
        status, _ = await asyncio.gather(worker.stop(), successor.start())
        statuses.append(status)
        await asyncio.sleep(lab.pick(2.0, 0.5))
    return statuses


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure for a while, then during the restart, under the same load; then again."""
    seconds = lab.pick(15.0, 4.0)
    new: list[WorkerProcess] = []
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(lab.cluster(*GRACE_FLAGS, workers=WORKERS))
        clusters = [await stack.enter_async_context(skep.connect(cluster.redis_url)) for _ in range(CLIENTS)]
        counters = Counters(clusters, [f"rolling-{number}" for number in range(SESSIONS)], seed=1)
        tallies: dict[str, Tally] = {}
        async with asyncio.TaskGroup() as group:
            load = group.create_task(counters.run(CALLERS, pause_seconds=PAUSE_SECONDS, slow_share=SLOW_SHARE))
            try:
                await asyncio.sleep(seconds / 2)
                counters.begin_anew()
                await asyncio.sleep(seconds)
                tallies["before"] = counters.begin_anew()
                started = perf_counter()
                statuses = await restart_each(lab, cluster, new)
                took = perf_counter() - started
                tallies["during"] = counters.begin_anew()
                await asyncio.sleep(seconds / 2)
            finally:
                counters.end()
                await asyncio.wait({load})
                await asyncio.gather(*(worker.stop() for worker in new))
        tallies["after"] = counters.tally
    yield _row(tallies, statuses, took)


def _row(tallies: dict[str, Tally], statuses: list[int], took: float) -> Row:
    before, during, after = (tallies[name] for name in ("before", "during", "after"))
    everything = tallies.values()
    p99 = percentile(during.latencies_ms, 99)
    goals = (
        Goal("errors", sum(len(tally.errors) for tally in everything), 0),
        Goal("wrong values", sum(len(tally.wrong) for tally in everything), 0),
        Goal("cells run again", sum(tally.again for tally in everything), 0),
        Goal("workers that left well", statuses.count(0), len(statuses), at_least=True),
    )
    trouble = "; ".join(filter(None, (tally.trouble() for tally in everything)))
    note = (
        f"{during.cells} cells in {took:.0f} s of restarting, longest {max(during.latencies_ms):.0f} ms, "
        f"p99 {p99 / percentile(before.latencies_ms, 99):.1f} times that before; "
        f"after: {Figure.of('', after.latencies_ms).text}{'; ' if trouble else ''}{trouble}"
    )
    return Row(
        f"cells of {CALLERS} callers in {SESSIONS} sessions during the restart", Figure.of("skep", during.latencies_ms),
        Figure.of("before it", before.latencies_ms), (), goals, note,
    )  # fmt: skip
