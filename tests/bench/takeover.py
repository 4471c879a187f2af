"""Takeover: from a worker's `kill -9` to the next event of a session that it had."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from time import perf_counter

import skep
from skep.embedded import WorkerProcess

from .figures import Figure, Goal, Row
from .interrupts import wait_for_word
from .lab import Lab

NAME = "takeover"
ABOUT = "kill -9 of a worker to its session's next event, leases of 1 and 3 s"
PEERS: tuple[str, ...] = ()

SLACK_SECONDS = 1.0  # of the goal: lease + 1 s + restore
RUNS_ON = "import time\nprint('word')\ntime.sleep(600)"
STATE = "rows = [{'n': number} for number in range(1000)]"
WAIT_SECONDS = 30.0


class Workers:
    """Two workers, each replaced after it was killed."""

    def __init__(self, cluster: skep.EmbeddedCluster, directory: Path, flags: tuple[str, ...]) -> None:
        self._cluster = cluster
        self._directory = directory
        self._flags = flags
        self._processes: list[WorkerProcess] = []

    async def start(self) -> None:
        """Start one more; its temporary files go with the run."""
        log = self._directory / "takeover.log"
        process = WorkerProcess(self._cluster.redis_url, flags=self._flags, log_path=log, temp_dir=self._directory)
        self._processes.append(process)
        await process.start()

    async def kill(self, worker_id: str | None) -> None:
        """Kill the one that has this id."""
        for process in self._processes:
            if process.worker_id == worker_id:
                await process.kill()
                self._processes.remove(process)
                return
        raise LookupError(f"no worker {worker_id}")

    async def stop(self) -> None:
        """Drain those that live."""
        await asyncio.gather(*(process.stop() for process in self._processes))


async def next_event(session: skep.Session, after: str) -> tuple[float, str]:
    """Give when the session's next event is here, and its kind."""
    async with asyncio.timeout(WAIT_SECONDS), contextlib.aclosing(session.events(after, follow=True)) as events:
        async for event in events:
            return perf_counter(), event.kind
    raise AssertionError("a followed stream has no end")


async def one_takeover(cluster: skep.Cluster, workers: Workers, session: skep.Session, *, is_busy: bool) -> float:
    """Give the milliseconds from the kill to the next event; of an idle session, one that is asked for at once."""
    (await session.run(STATE)).raise_for_status()
    running = await session.submit(RUNS_ON) if is_busy else None
    if running is not None:
        await wait_for_word(running)
    info = await session.info()
    following = asyncio.create_task(next_event(session, f"{info.last_event}-0"))
    await asyncio.sleep(0.3 if is_busy else 0)  # somewhere between two heartbeats
    started = perf_counter()
    await workers.kill(info.owner)
    asked = None if is_busy else await session.submit("len(rows)")
    came, _ = await following
    if running is not None:
        await running.interrupt()
        await running.outcome(timeout=WAIT_SECONDS)
    if asked is not None and (await asked.outcome(timeout=WAIT_SECONDS)).value != 1000:
        raise AssertionError("the state was lost")
    await session.close(purge=True)
    await workers.start()
    return (came - started) * 1000


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure with a cell that runs, and with an idle session that is given a cell after the kill."""
    for lease, rounds in ((1.0, lab.pick(10, 2)), (3.0, lab.pick(4, 1))):
        flags = ("--lease-seconds", f"{lease:g}")
        async with lab.cluster(*flags) as cluster:
            await cluster.worker_processes[0].stop()  # ours are replaced as they die
            workers = Workers(cluster, lab.directory, flags)
            try:
                await asyncio.gather(workers.start(), workers.start())
                for what, is_busy in (("with a cell running", True), ("idle, a cell submitted after the kill", False)):
                    taken = [
                        await one_takeover(cluster, workers, cluster.session(f"t-{is_busy}-{n}"), is_busy=is_busy)
                        for n in range(rounds)
                    ]
                    ours = Figure.of("skep", taken)
                    wanted = Goal("longest s, lease + 1 s", max(taken) / 1000, lease + SLACK_SECONDS)
                    yield Row(f"lease {lease:g} s, {what}", ours, Figure("lease", lease * 1000, "ms"), (), (wanted,))
            finally:
                await workers.stop()
