"""Runs cases on skep: made by sessions of one worker, which is killed with -9, used by the same sessions on another."""

import asyncio
import importlib.util
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

from .cases import Case

# Imported once by the processes that sessions are forked from; otherwise each case would wait for the imports twice.
# Polars is not: its threads do not survive a fork.
PRELOADED: Final = ("numpy", "pandas", "sklearn.ensemble", "networkx", "PIL.Image", "sympy")
AT_ONCE: Final = 16
CELL_SECONDS: Final = 60.0

Verdicts = dict[str, str]  # case id -> "" or what went wrong


async def run(cases: Sequence[Case]) -> Verdicts:
    """Return the failure of each case on skep; '' if it succeeded."""
    light, heavy = [[case for case in cases if bool(case.needs) is needs] for needs in (False, True)]
    one, other = await asyncio.gather(_run(light, []), _run(heavy, installed()))
    return one | other


def installed() -> list[str]:
    """Return the installed packages among those to import first."""
    return [name for name in PRELOADED if importlib.util.find_spec(name.partition(".")[0]) is not None]


async def _run(cases: Sequence[Case], preloaded: Sequence[str]) -> Verdicts:
    flags = ["--max-resident", str(len(cases) + 10), "--lease-seconds", "1", "--start-seconds", "120"]
    flags += [part for name in preloaded for part in ("--preload", name)]
    with tempfile.TemporaryDirectory(prefix="skep-fidelity-", ignore_cleanup_errors=True) as scratch:
        async with RedisServer() as server, skep.connect(settings=Settings.load(redis_url=server.url)) as cluster:

            def worker() -> WorkerProcess:
                return WorkerProcess(
                    server.url, flags=tuple(flags), log_path=Path(scratch, "log"), temp_dir=Path(scratch)
                )

            first, second = worker(), worker()
            try:
                with patch.object(
                    sys.modules[WorkerProcess.__module__], "READY_SECONDS", 120.0
                ):  # their first imports take a while
                    await asyncio.gather(first.start(), second.start())
                os.kill(second.pid, signal.SIGSTOP)  # so that the first worker makes the objects
                sessions = {case.id: cluster.session(f"case-{number}") for number, case in enumerate(cases)}
                failed = await _each(cases, lambda case: _make(sessions[case.id], case, first.worker_id))
                await first.kill()
                os.kill(second.pid, signal.SIGCONT)
                left = [case for case in cases if not failed[case.id]]
                return failed | await _each(left, lambda case: _use(sessions[case.id], case, second.worker_id))
            finally:
                await asyncio.gather(first.kill(), second.kill())


async def _make(session: skep.Session, case: Case, worker_id: str) -> str:
    for code in case.makes:
        outcome = await session.run(code, timeout=CELL_SECONDS)
        if not outcome.ok:
            return f"not made: {told(outcome)}"
    info = await session.info()
    return "" if info.owner == worker_id else f"made by {info.owner}"


async def _use(session: skep.Session, case: Case, worker_id: str) -> str:
    outcome = await session.run(case.uses, timeout=CELL_SECONDS)
    if not outcome.ok:
        return told(outcome) + await losses(session)
    if case.loses:
        lost = await session.run(case.loses, timeout=CELL_SECONDS)
        if lost.error is None or "lost after checkpoint" not in lost.error.evalue:
            return f"{case.loses} is not reported as lost: {told(lost)}"
    info = await session.info()
    return "" if info.owner == worker_id else f"used by {info.owner}"


async def losses(session: skep.Session) -> str:
    """Return the losses of the latest restore."""
    lost: dict[str, str] = {}
    notes: list[str] = []
    async for event in session.events():
        if event.kind == "session.restored":
            lost, notes = dict(event.lost), list(event.notes)
    return "".join([*(f"; lost {name}: {reason}" for name, reason in lost.items()), *(f"; {note}" for note in notes)])


def told(outcome: skep.Outcome) -> str:
    """Return how a cell failed."""
    if outcome.error is None:
        return str(outcome.status)
    lines = [line.strip() for line in "".join(outcome.error.traceback).splitlines()]
    where = next((line for line in reversed(lines) if line.startswith("assert ")), "")
    return f"{outcome.error.ename}: {outcome.error.evalue} {where}".strip()


async def _each(cases: Sequence[Case], work: Callable[[Case], Awaitable[str]]) -> Verdicts:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> str:
        async with room:
            try:
                return await work(case)
            except (skep.SkepError, TimeoutError) as exc:
                return f"{type(exc).__name__}: {exc}"

    return dict(zip([case.id for case in cases], await asyncio.gather(*map(one, cases)), strict=True))
