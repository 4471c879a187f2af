"""Many more sessions than room: random access, so that nearly every cell has a session brought back from Redis.

All sessions are as old as they get from the beginning (their retention bounds are reached), so that whatever grows
while they are used is a leak: Redis's memory and the workers' are fitted by a line over the second half.
"""

import asyncio
import statistics
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from time import monotonic, time

import skep

from .counters import Counters
from .figures import Figure, Goal, Row
from .lab import Lab
from .processes import descendants, pss_megabytes

NAME = "slots"
ABOUT = "10,000 sessions in 100 places, random access for two minutes: lost cells, memory of Redis and workers"
PEERS: tuple[str, ...] = ()

WORKERS, CALLERS = 2, 8
SAMPLE_SECONDS = 2.0
BOUNDS = (
    "--keep-checkpoints", "3", "--keep-events", "60", "--keep-cell-ids", "10", "--upkeep-sessions", "1000000",
)  # fmt: skip
TEMPLATE_CELLS = 60
FLAT_SHARE = 0.03  # of the mean, over the second half


async def make_sessions(cluster: skep.EmbeddedCluster, names: list[str]) -> int:
    """Create sessions that have counted for a while and are hibernated; return how far they counted."""
    template = cluster.session("template")
    for _ in range(TEMPLATE_CELLS):
        (await template.run("n = globals().get('n', 0) + 1\nn")).raise_for_status()
    await template.hibernate()
    redis, keys = cluster._link.redis, cluster._link.keys
    now = int(time() * 1000)
    for start in range(0, len(names), 500):
        async with redis.pipeline(transaction=False) as pipe:
            for name in names[start : start + 500]:
                for key in (keys.session, keys.cells, keys.ids, keys.events, keys.checkpoints, keys.blobs):
                    pipe.copy(key("template"), key(name))
                pipe.zadd(keys.sessions, {name: now})
            await pipe.execute()
    return TEMPLATE_CELLS


def growth_share(times: Sequence[float], values: Sequence[float]) -> float:
    """Return how much the line through the second half of the samples grows over it, as a share of their mean."""
    half = len(values) // 2
    times, values = times[half:], values[half:]
    slope = statistics.linear_regression(times, values).slope
    return slope * (times[-1] - times[0]) / statistics.fmean(values)


class Memory:
    """Samples of memory in MB, by whose it is."""

    def __init__(self, cluster: skep.EmbeddedCluster) -> None:
        self._cluster = cluster
        self.times: list[float] = []
        self.samples: dict[str, list[float]] = {"Redis": [], "worker hosts": [], "zygotes and sessions": []}

    async def watch(self) -> None:
        """Collect samples until cancelled."""
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            redis = (await self._cluster._link.redis.info("memory"))["used_memory"] / 1e6
            hosts, others = await asyncio.to_thread(self._of_workers)
            self.times.append(monotonic())
            for name, value in (("Redis", redis), ("worker hosts", hosts), ("zygotes and sessions", others)):
                self.samples[name].append(value)

    def _of_workers(self) -> tuple[float, float]:
        hosts = [worker.pid for worker in self._cluster.worker_processes]
        others = [pid for host in hosts for pid in descendants(host)]
        return sum(map(pss_megabytes, hosts)), sum(map(_pss_if_there, others))


def _pss_if_there(pid: int) -> float:
    try:
        return pss_megabytes(pid)
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0.0  # a session that has just been sent away


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Use them at random, and watch."""
    count, places, seconds = lab.pick((10_000, 50, 120.0), (500, 10, 10.0))
    names = [f"slot-{number}" for number in range(count)]
    async with AsyncExitStack() as stack:
        flags = (*BOUNDS, "--max-resident", str(places))
        cluster = await stack.enter_async_context(lab.cluster(*flags, workers=WORKERS))
        began_with = await make_sessions(cluster, names)
        counters = Counters([cluster], names, seed=1, began_with=began_with)
        memory = Memory(cluster)
        async with asyncio.TaskGroup() as group:
            load = group.create_task(counters.run(CALLERS))
            watching = group.create_task(memory.watch())
            await asyncio.sleep(seconds)
            counters.end()
            await asyncio.wait({load})
            watching.cancel()
        tally = counters.tally
        most = [worker.resident async for worker in cluster.workers()]
    goals = (
        Goal("lost or doubled", len(tally.wrong), 0),
        Goal("errors", len(tally.errors), 0),
        Goal("cells", tally.cells, count // 50, at_least=True),
    )
    what = f"a cell of one of {count:,} sessions in {WORKERS * places} places"
    note = f"{tally.cells} cells, {tally.cells / seconds:.0f}/s; resident at the end {most} {tally.trouble()}"
    yield Row(what, Figure.of("skep", tally.latencies_ms), None, (), goals, note)
    for name, values in memory.samples.items():
        growth = growth_share(memory.times, values) * 100
        text = f"from {values[len(values) // 2]:.1f} to {values[-1]:.1f} MB over the second half"
        yield Row(
            f"memory of {name}", Figure("mean", statistics.fmean(values[len(values) // 2 :]), "MB"), None, (),
            (Goal("growth over the second half, %", growth, FLAT_SHARE * 100),), text,
        )  # fmt: skip
