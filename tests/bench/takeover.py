"""Takeover: from a worker's `kill -9` to the next events of the sessions that it had, and where that time goes.

Each kill is a sample of several sessions: some run a cell, one is idle and given a cell right after the kill. Kills come
at all points of the interval between two heartbeats. The steps are read from the log of the worker that takes over.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any

import skep
from skep.local.embedded import WorkerProcess

from .figures import Figure, Goal, Row, percentile, short
from .interrupts import wait_for_word
from .lab import Lab
from .worker_log import WorkerLog

NAME = "takeover"
ABOUT = "kill -9 of a worker to its sessions' next events, leases of 1 and 3 s, and the share of each step"
PEERS: tuple[str, ...] = ()

SLACK_SECONDS = 1.0  # of the goal: lease + 1 s + restore
RUNS_ON = "import time\nprint('word')\ntime.sleep(600)"
STATE = "rows = [{'n': number} for number in range(1000)]"
BUSY_SESSIONS = 3
WAIT_SECONDS = 30.0
STEPS = ("lease runs out", "noticed", "picked", "claimed", "process started", "state restored", "event read")


class Workers:
    """Two workers, each replaced after it was killed."""

    def __init__(self, cluster: skep.EmbeddedCluster, directory: Path, flags: tuple[str, ...]) -> None:
        self.log = WorkerLog(directory / "takeover.log")
        self._cluster = cluster
        self._directory = directory
        self._flags = flags
        self._processes: list[WorkerProcess] = []

    async def start(self) -> None:
        """Start one more; its temporary files go with the run."""
        process = WorkerProcess(
            self._cluster.redis_url, flags=self._flags, log_path=self.log.path, temp_dir=self._directory
        )
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


@dataclass
class Taken:
    """What was measured, in ms: kill to the next event, by what the session did; each step of those with a cell."""

    gaps: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    steps: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


async def events_after_kill(session: skep.Session, after: int) -> tuple[float, float]:
    """Return when the session's next event arrives, and when the one that reports its restore does."""
    first = 0.0
    async with asyncio.timeout(WAIT_SECONDS), contextlib.aclosing(session.events(f"{after}-0", follow=True)) as events:
        async for event in events:
            first = first or time()
            if event.kind == "session.restored":
                return first, time()
    raise AssertionError("a followed stream has no end")


async def one_kill(cluster: skep.Cluster, workers: Workers, name: str, into_beat: float, taken: Taken) -> None:
    """Kill a worker so many seconds after an event of its, and measure its sessions."""
    async with contextlib.AsyncExitStack() as stack:
        sessions = [cluster.session(f"{name}-{number}") for number in range(BUSY_SESSIONS + 1)]
        for session in sessions:
            stack.push_async_callback(session.close, purge=True)
            (await session.run(STATE)).raise_for_status()
        *busy, idle = sessions
        running = [await session.submit(RUNS_ON) for session in busy]
        await asyncio.gather(*(wait_for_word(cell) for cell in running))
        infos = [await session.info() for session in sessions]
        owner = infos[0].owner
        mine = [info.owner == owner for info in infos]
        following = [
            asyncio.create_task(events_after_kill(session, info.last_event))
            for session, info, is_mine in zip(sessions, infos, mine, strict=True)
            if is_mine
        ]
        await asyncio.sleep(into_beat)
        workers.log.skip()
        link = cluster._link
        left_ms = await link.redis.pttl(link.keys.worker(owner or ""))
        killed_at = time()
        await workers.kill(owner)
        asked = await idle.submit("len(rows)") if mine[-1] else None
        came = await asyncio.gather(*following)
        entries = workers.log.entries()
        for cell in running:
            await cell.interrupt()
            await cell.outcome(timeout=WAIT_SECONDS)
        if asked is not None and (await asked.outcome(timeout=WAIT_SECONDS)).value != 1000:
            raise AssertionError("the state was lost")
        owned = [session for session, is_mine in zip(sessions, mine, strict=True) if is_mine]
        for session, (first, restored) in zip(owned, came, strict=True):
            taken.gaps["idle" if session is idle else "busy"].append((first - killed_at) * 1000)
            if session is not idle:
                _add_steps(taken, session.id, killed_at, left_ms, restored, entries)
    await workers.start()


def _add_steps(
    taken: Taken, session_id: str, killed_at: float, left_ms: int, restored_at: float, entries: list[dict[str, Any]]
) -> None:
    """Cut one takeover into its steps."""
    recovery = next(entry["at"] for entry in entries if entry["event"] == "recovery")
    said = {entry["event"]: entry for entry in entries if entry.get("session_id") == session_id}
    restored = said["session.restored"]
    expired = killed_at + left_ms / 1000
    process_at = restored["at"] - restored["restore_ms"] / 1000
    times = [
        killed_at, expired, max(recovery, expired), said["activation.picked"]["at"], said["session.claimed"]["at"],
        process_at, restored["at"], max(restored_at, restored["at"]),
    ]  # fmt: skip
    for step, before, after in zip(STEPS, times[:-1], times[1:], strict=True):
        taken.steps[step].append((after - before) * 1000)
    taken.gaps["restored"].append((restored_at - killed_at) * 1000)
    taken.gaps["restore"].append(restored["start_ms"] + restored["restore_ms"])


def _rows(lease: float, taken: Taken) -> list[Row]:
    floor = Figure("lease", lease * 1000, "ms")
    rows = []
    for what, kind in (("with a cell running", "busy"), ("idle, a cell submitted after the kill", "idle")):
        gaps = taken.gaps[kind]
        goal = Goal("p99 s, lease + 1 s", percentile(gaps, 99) / 1000, lease + SLACK_SECONDS)
        note = f"{len(gaps)} takeovers, longest {short(max(gaps))} ms"
        rows.append(Row(f"lease {lease:g} s, {what}", Figure.of("skep", gaps), floor, (), (goal,), note))
    gaps = taken.gaps["restored"]
    restore = percentile(taken.gaps["restore"], 50) / 1000
    limit = lease + SLACK_SECONDS + restore
    goal = Goal("p99 s, lease + 1 s + restore", percentile(gaps, 99) / 1000, round(limit, 3))
    total = sum(sum(times) for times in taken.steps.values())
    shares = ", ".join(
        f"{step} {short(percentile(times, 50))} / {short(percentile(times, 99))} ms ({sum(times) / total:.1%})"
        for step, times in taken.steps.items()
    )
    rows.append(Row(f"lease {lease:g} s, to the restored state", Figure.of("skep", gaps), floor, (), (goal,), shares))
    return rows


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure at both leases; the steps' p50 / p99 and their shares of all the time are in the notes."""
    for lease, kills in ((1.0, lab.pick(30, 2)), (3.0, lab.pick(30, 2))):
        flags = ("--lease-seconds", f"{lease:g}")
        taken = Taken()
        async with lab.cluster(*flags) as cluster:
            await cluster.worker_processes[0].stop()  # ours are replaced as they die
            workers = Workers(cluster, lab.directory, flags)
            try:
                await asyncio.gather(workers.start(), workers.start())
                for number in range(kills):
                    into_beat = (number + 0.5) / kills * lease / 3
                    await one_kill(cluster, workers, f"t-{number}", into_beat, taken)
            finally:
                await workers.stop()
        for row in _rows(lease, taken):
            yield row
