"""The whole suite: one Redis, and for each batch of cases two workers, of which the first is killed with -9.

The cases of a batch are made by its first worker, while the second one is stopped. Then the first is killed, and the
second takes over all of them. Large libraries are imported by the processes that sessions are forked from for those
groups that say so; otherwise every one of some thousand processes would wait for them.
"""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final
from unittest.mock import patch

import skep
from skep.local.embedded import WorkerProcess
from skep.local.redis_server import RedisServer
from skep_shared.settings import Settings

from . import ways
from .case import Case

PRELOADED: Final = (
    "matplotlib.pyplot",
    "networkx",
    "numpy",
    "pandas",
    "PIL.Image",
    "pyarrow",
    "scipy.stats",
    "sklearn.ensemble",
    "sklearn.pipeline",
    "statsmodels.formula.api",
    "sympy",
    "torch",
)
AT_ONCE: Final = 6
SNAPSHOT_SECONDS: Final = 20.0  # none of the cases is so large that it takes that long, unless it hangs
READY_SECONDS: Final = 300.0  # of a worker that imports all that first, on a busy machine
STOPPED_SECONDS: Final = 3600.0  # that the second worker may be stopped while the first one works
WAYS: Final = ("live", "hibernated", "forked", "killed")

Verdicts = dict[str, dict[str, str]]  # case id -> way -> '' or what went wrong


async def run(cases: Sequence[Case]) -> Verdicts:
    """Return what came of each case in each way."""
    async with RedisServer() as server:
        batches = [[case for case in cases if case.is_preloaded is wanted] for wanted in (False, True)]
        preloads = ((), PRELOADED)
        done = await asyncio.gather(
            *(
                _Batch(server.url, f"batch-{number}", preload).run(batch)
                for number, (batch, preload) in enumerate(zip(batches, preloads, strict=True))
                if batch
            )
        )
    return {name: verdict for verdicts in done for name, verdict in verdicts.items()}


class _Batch:
    """Cases that run on the same two workers."""

    def __init__(self, redis_url: str, prefix: str, preload: Sequence[str]) -> None:
        self._url = redis_url
        self._prefix = prefix
        self._preload = preload
        self._verdicts: Verdicts = {}
        self._reported: dict[str, frozenset[str]] = {}

    async def run(self, cases: Sequence[Case]) -> Verdicts:
        """Make all of them, kill, and use all of them."""
        self._verdicts = {case.id: {} for case in cases}
        settings = Settings.load(redis_url=self._url, prefix=self._prefix)
        with tempfile.TemporaryDirectory(prefix="skep-libraries-", ignore_cleanup_errors=True) as scratch:
            first, second = (self._worker(len(cases), Path(scratch)) for _ in range(2))
            async with skep.connect(settings=settings) as cluster:
                try:
                    with patch.object(sys.modules[WorkerProcess.__module__], "READY_SECONDS", READY_SECONDS):
                        await first.start()  # first, since it compiles the libraries that both import
                        await second.start()
                    os.kill(second.pid, signal.SIGSTOP)  # what is made now is made by the first
                    await _each(cases, lambda number, case: self._before_the_kill(cluster, number, case))
                    await first.kill()
                    os.kill(second.pid, signal.SIGCONT)
                    await _each(cases, lambda number, case: self._after_the_kill(cluster, number, case))
                finally:
                    await asyncio.gather(first.kill(), second.kill())
        return self._verdicts

    def _worker(self, cases: int, scratch: Path) -> WorkerProcess:
        flags = ["--prefix", self._prefix, "--max-resident", str(2 * cases + 4 * AT_ONCE), "--lease-seconds", "1"]
        flags += ["--start-seconds", str(READY_SECONDS), "--snapshot-seconds", str(SNAPSHOT_SECONDS)]
        flags += ["--redis-outage-seconds", str(STOPPED_SECONDS)]
        flags += [part for name in self._preload for part in ("--preload", name)]
        return WorkerProcess(self._url, flags=("--sandbox", "none", *flags), log_path=scratch / "log", temp_dir=scratch)

    async def _before_the_kill(self, cluster: skep.Cluster, number: int, case: Case) -> None:
        verdicts = self._verdicts[case.id]
        for name, use in (("live", ways.live), ("hibernated", ways.hibernated)):
            session = cluster.session(f"{name}-{number}")
            verdicts[name] = await _guarded(use(session, case))
            await _end(session)
        session = cluster.session(f"killed-{number}")

        async def prepare() -> str:
            failure, self._reported[case.id] = await ways.prepared(session, case)
            return failure

        failure = await _guarded(prepare())
        if failure:
            verdicts["killed"] = failure
            return

        if "forked" in case.exempt:
            verdicts["forked"] = ""
            return

        async def fork() -> str:
            forked = await session.fork(f"forked-{number}")
            verdict = await ways.forked(session, forked, case)
            await _end(forked)
            return verdict

        verdicts["forked"] = await _guarded(fork())

    async def _after_the_kill(self, cluster: skep.Cluster, number: int, case: Case) -> None:
        if "killed" not in self._verdicts[case.id]:
            session = cluster.session(f"killed-{number}")
            verdict = await _guarded(ways.after_a_kill(session, case, self._reported[case.id]))
            self._verdicts[case.id]["killed"] = verdict
            await _end(session)


async def _guarded(verdict: Awaitable[str]) -> str:
    try:
        return await verdict
    except (skep.SkepError, TimeoutError) as exc:
        return f"{type(exc).__name__}: {exc}"


async def _end(session: skep.Session) -> None:
    """Make room; what doesn't end goes with its worker."""
    await _guarded(_closed(session))


async def _closed(session: skep.Session) -> str:
    await session.close(purge=True)
    return ""


async def _each(cases: Sequence[Case], work: Callable[[int, Case], Awaitable[None]]) -> None:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, case: Case) -> None:
        async with room:
            await work(number, case)

    await asyncio.gather(*(one(number, case) for number, case in enumerate(cases)))


def run_all(cases: Sequence[Case]) -> Verdicts:
    """Return what `run` does."""
    return asyncio.run(run(cases))
