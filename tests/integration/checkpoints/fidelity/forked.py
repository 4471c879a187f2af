"""Runs cases on skep by forks: made in a session, used in a fork of its live process, or otherwise in a restored one."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from unittest.mock import patch

import skep
from skep.local.embedded import WorkerProcess

from .cases import Case
from .ours import CELL_SECONDS, installed, losses, told

AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Forked:
    """The failure of a case ('' if it succeeded), and whether the fork was made from a live process."""

    verdict: str
    is_live: bool


async def run(cases: Sequence[Case]) -> dict[str, Forked]:
    """Return the result of each case."""
    flags = ["--max-resident", str(2 * len(cases)), "--start-seconds", "120"]
    flags += [part for name in installed() for part in ("--preload", name)]
    room = asyncio.Semaphore(AT_ONCE)

    async def one(cluster: skep.EmbeddedCluster, number: int, case: Case) -> Forked:
        async with room:
            source = cluster.session(f"case-{number}")
            for code in case.makes:
                outcome = await source.run(code, timeout=CELL_SECONDS)
                if not outcome.ok:
                    return Forked(f"not made: {told(outcome)}", is_live=False)
            forked = await _use(await source.fork(f"fork-{number}"), case)
            await source.close(purge=True)
            return forked

    with patch.object(sys.modules[WorkerProcess.__module__], "READY_SECONDS", 120.0):  # its imports take a while
        async with skep.embedded(worker_flags=tuple(flags)) as cluster:
            done = await asyncio.gather(*(one(cluster, number, case) for number, case in enumerate(cases)))
    return dict(zip([case.id for case in cases], done, strict=True))


async def _use(fork: skep.Session, case: Case) -> Forked:
    outcome = await fork.run(case.uses, timeout=CELL_SECONDS)
    is_live = [event.is_live async for event in fork.events() if event.kind == "session.restored"] == [True]
    verdict = "" if outcome.ok else told(outcome) + await losses(fork)
    if not verdict and case.loses:
        lost = await fork.run(case.loses, timeout=CELL_SECONDS)
        if lost.error is None or "lost after checkpoint" not in lost.error.evalue:
            verdict = f"{case.loses} is not reported as lost: {told(lost)}"
    await fork.close(purge=True)
    return Forked(verdict, is_live=is_live)
