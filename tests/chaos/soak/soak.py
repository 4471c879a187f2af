"""The soak: a real Redis, real workers and services, everything that can go wrong between them, and the checker.

It runs for a given time, heals, drains, reads the stored data without the links, and restores every session's
checkpoint. The history can be checked again offline. A seed draws the same faults each time, but real parts don't repeat.
"""

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import skep
from skep_shared.settings import Settings

from ..checker.anomalies import Verdict
from ..checker.checker import check
from ..checker.history import History
from .soak_clients import Reader, Service, wrong_outcomes
from .soak_faults import Nemesis
from .soak_figures import Figures, figures_of, share
from .soak_log import SoakLog, now_ms
from .soak_parts import START_SECONDS, Parts
from .soak_reading import KEYS, complaints, read_session

DRAIN_SECONDS = 60.0
FIRST_ROUND_SECONDS = 60.0  # on a busy machine a short soak may end before each kind of fault has happened
SEEN_SECONDS = 20.0
GONE_SECONDS = 5.0
SERVICES = 2
SUBMITTERS = 3


@dataclass(frozen=True)
class Plan:
    """The parameters of a soak. Times in seconds; means of exponential distributions.

    It takes longer than `seconds` until each kind of fault has happened once.
    """

    seed: int
    seconds: float
    sessions: int = 40
    fault_every: float = 1.5
    submit_every: float = 0.5  # each of SUBMITTERS tasks of each service


@dataclass
class Result:
    """The result."""

    history: History
    verdict: Verdict
    figures: Figures
    faults: Counter[str]

    def summary(self) -> str:
        """Return the figures as text."""
        metrics, figures = self.verdict.metrics, self.figures
        lines = [
            f"{metrics['cells']:.0f} cells acknowledged, {figures.attempts} attempts, {metrics['events']:.0f} events, "
            f"{metrics['reads']:.0f} reads; ends: {_counts(figures.ends)}",
            f"{sum(self.faults.values())} faults: {_counts(self.faults)}",
            f"{figures.takeovers} takeovers, {len(figures.without_cause)} without cause",
            *(f"  {text}" for text in figures.without_cause[:10]),
            *(
                f"{what}: {len(times)} times, p50 {share(times, 50):.0f} ms, p99 {share(times, 99):.0f} ms"
                for what, times in (
                    ("kill to the session's next event", figures.gaps),
                    ("  with nothing else wrong meanwhile", figures.undisturbed),
                )
            ),
            f"submit to end: p50 {metrics['p50_ms']:.0f} ms, p99 {metrics['p99_ms']:.0f} ms; "
            f"drained in {metrics['drain_seconds']:.1f} s",
            "VALID" if self.verdict.is_valid else f"NOT VALID: {len(self.verdict.anomalies)} anomalies",
            *(f"  {anomaly}" for anomaly in self.verdict.anomalies[:30]),
        ]
        return "\n".join(lines)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.most_common())


class Soak:
    """One run."""

    def __init__(self, plan: Plan, directory: Path, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._log = SoakLog({"seed": plan.seed, "seconds": plan.seconds, "soak": True}, tell)
        self._sessions = [f"s{number}" for number in range(plan.sessions)]
        self._nemesis = Nemesis(plan.seed, self._log, self._hibernate_some)
        self.parts = self._nemesis.parts = Parts(directory, self._log, self._nemesis)
        self._services: list[Service] = []
        self._readers: list[Reader] = []

    async def run(self) -> Result:
        """Run to the end."""
        try:
            await self.parts.start()
            async with AsyncExitStack() as stack:
                clusters = [await stack.enter_async_context(self._connect(f"c{n}")) for n in range(SERVICES)]
                await self._run(clusters)
            await self.parts.drain()
            await self._look_for_rests()
        finally:
            await self.parts.close()
        history = self._log.history
        return Result(history, check(history), figures_of(history), self._log.faults)

    async def _run(self, clusters: list[skep.Cluster]) -> None:
        plan, log = self._plan, self._log
        for number, cluster in enumerate(clusters):
            self._services.append(Service(f"c{number}", cluster, self._sessions, plan.seed, log))
            self._readers += [
                Reader(f"r{number}-{session}", cluster, session, plan.seed, log) for session in self._sessions
            ]
        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(reader.run()) for reader in self._readers]
            submitters = [
                group.create_task(service.submit(plan.submit_every))
                for service in self._services
                for _ in range(SUBMITTERS)
            ]
            nemesis = group.create_task(self._nemesis.run(plan.fault_every))
            await asyncio.sleep(plan.seconds)
            with contextlib.suppress(TimeoutError):  # what has not happened by then is not in the history
                async with asyncio.timeout(FIRST_ROUND_SECONDS):
                    await self._nemesis.each_has_happened.wait()
            nemesis.cancel()
            await self._nemesis.heal()
            healed = now_ms()
            for service in self._services:
                service.end()
            is_drained = await self._drained(submitters)
            log.history.meta |= {"drain_seconds": (now_ms() - healed) / 1000, "drained": is_drained}
            log.report(f"drained: {is_drained}")
            finals = {session: await read_session(self.parts.admin, session, log.history) for session in self._sessions}
            await self._seen({session: final["last"] for session, final in finals.items() if final})
            for reader in readers:
                reader.cancel()
            for submitter in submitters:
                submitter.cancel()
        probed = await asyncio.gather(
            *(self._probe(session, number) for number, session in enumerate(self._sessions)), return_exceptions=True
        )
        for session, state in zip(self._sessions, probed, strict=True):
            if isinstance(state, BaseException):
                log.note("unhandled", session, text=f"its checkpoint is not known: {state!r}")
            elif finals[session]:
                log.history.add({**finals[session], "checkpoint": state})
        for service in self._services:
            for text in wrong_outcomes(service.outcomes, log.history.ops):
                log.note("unhandled", service.name, text=f"another outcome than the stream has: {text}")

    @asynccontextmanager
    async def _connect(self, name: str) -> AsyncIterator[skep.Cluster]:
        link = await self.parts.open_link(name)
        settings = Settings.load(
            redis_url=link.url, command_timeout_seconds=1.5, connect_timeout_seconds=1.5, block_seconds=2.0,
            outage_seconds=5.0, max_connections=4 * len(self._sessions) + 64,
        )  # fmt: skip
        async with AsyncExitStack() as stack:
            yield await self._connected(stack, settings)

    @staticmethod
    async def _connected(stack: AsyncExitStack, settings: Settings) -> skep.Cluster:
        """Connect; a fault may meet the first look at the server, which `connect` does not repeat."""
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    return await stack.enter_async_context(skep.connect(settings=settings))
                except skep.RedisUnavailable:
                    await asyncio.sleep(0.05)

    async def _hibernate_some(self) -> None:
        if self._services:
            await self._services[0].hibernate(4)

    async def _probe(self, session: str, number: int) -> tuple[Any, ...] | None:
        known = any(op["op"] == "event" and op["session"] == session for op in self._log.history.ops)
        return await self._services[number % SERVICES].probe(session) if known else None

    async def _drained(self, submitters: list[asyncio.Task[None]]) -> bool:
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await asyncio.wait(submitters)
                while not await self._is_quiet():  # noqa: ASYNC110 - it sends no signal
                    await asyncio.sleep(0.1)
        except TimeoutError:
            return False
        return True

    async def _is_quiet(self) -> bool:
        last: dict[str, int] = {}
        for session in self._sessions:
            seq, cursor, written = await self.parts.admin.execute_command(
                "HMGET", KEYS.session(session), "seq", "cursor", "last"
            )
            if seq != cursor:
                return False
            last[session] = int(written or 0)
        return all(reader.last >= last[reader.session] for reader in self._readers)

    async def _seen(self, last: dict[str, int]) -> None:
        """Wait until the readers have seen everything that was read at the end, and drop what they saw after it.

        An idle session may hibernate at any time, which adds events.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEEN_SECONDS):
                while any(reader.last < last.get(reader.session, 0) for reader in self._readers):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        ops = self._log.history.ops
        ops[:] = [op for op in ops if op["op"] != "read" or op["id"] <= last.get(op["session"], 0)]

    async def _look_for_rests(self) -> None:
        """Check that no process of the workers runs on after their end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GONE_SECONDS):
                while self.parts.left_over():  # noqa: ASYNC110 - they are not our children
                    await asyncio.sleep(0.05)
        for pid in self.parts.left_over():
            self._log.note("unhandled", "workers", text=f"process {pid} is left over")
        for text in complaints(self.parts.worker_log, zygote_kills=self._log.faults["zygote kill"]):
            self._log.note("unhandled", "workers", text=text[:2000])


def soak(
    plan: Plan,
    *,
    tell: Callable[[str], None] = lambda _: None,
    log_path: Path | None = None,
    parent: Path | None = None,
) -> Result:
    """Run a soak in a directory of its own below `parent`; the workers' log is kept at `log_path`."""
    with tempfile.TemporaryDirectory(prefix="skep-soak-", dir=parent) as directory:
        run = Soak(plan, Path(directory), tell)
        try:
            return asyncio.run(run.run())
        finally:
            if log_path is not None and run.parts.worker_log.exists():
                log_path.write_bytes(run.parts.worker_log.read_bytes())
