"""The faults of a soak: of processes and networks at random times, and failpoints at named steps.

A failpoint is armed for a worker and a kind of request. The link that sees such a request next triggers it:
before it is sent on or after its reply has come, the worker is killed or stopped, or the reply is lost.
"""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from redis.exceptions import RedisError

from .proxy import PASS, Fate, Link, Request, Ruler
from .soak_log import SoakLog
from .soak_parts import LEASE_SECONDS, Parts, Worker

ARMED_SECONDS = 6.0
REQUEST_RATES = {"reset": 0.0004, "request lost": 0.0002, "reply lost": 0.0008}
RATES = (
    ("failpoint", 8.0), ("kill", 2.0), ("pause", 2.0), ("drain", 1.5), ("session kill", 2.0), ("zygote kill", 1.0),
    ("redis kill", 0.7), ("redis stop", 1.0), ("script flush", 0.7), ("client kill", 0.7), ("hibernate", 1.5),
    ("latency", 1.0), ("blackhole", 1.5), ("slow link", 0.7), ("connection reset", 1.0),
    ("reply lost", 1.0),
)  # fmt: skip


class Failpoint(NamedTuple):
    """One step of a worker, and the fault that happens there."""

    script: str
    when: str
    what: str

    def __str__(self) -> str:
        return f"{self.what} {self.when} {self.script}"


FAILPOINTS = tuple(
    Failpoint(*words)
    for words in (
        ("claim", "before", "kill"), ("claim", "before", "stop"), ("claim", "after", "kill"), ("claim", "after", "stop"),
        ("emit", "before", "kill"), ("emit", "before", "stop"), ("emit", "after", "kill"), ("emit", "after", "lose"),
        ("commit", "before", "kill"), ("commit", "before", "stop"),  # after the cell
        ("commit", "instead of the reply of", "kill"), ("commit", "instead of the reply of", "stop"),
        ("commit", "after", "lose"), ("commit", "after", "kill"), ("commit", "after", "stop"),
        ("blobs", "half-way through", "kill"), ("blobs", "after", "kill"), ("blobs", "before", "stop"),
        ("release", "before", "kill"), ("release", "before", "stop"), ("release", "after", "lose"),
        ("release", "after", "kill"), ("heartbeat", "before", "stop"), ("heartbeat", "after", "stop"),
        ("heartbeat", "after", "lose"), ("confirm", "after", "lose"), ("prune", "after", "kill"),
    )
)  # fmt: skip


class Nemesis(Ruler):
    """Decides the fate of requests, and causes faults of processes; all of it drawn from the seed."""

    parts: Parts

    def __init__(self, seed: int, log: SoakLog, hibernate: Callable[[], Awaitable[None]]) -> None:
        """`hibernate` hibernates some sessions."""
        self._plan = random.Random(
            f"nemesis {seed}"
        )  # a separate generator: the number of requests does not depend on the seed
        self._rng = random.Random(f"requests {seed}")
        self._log = log
        self._hibernate = hibernate
        self.each_has_happened = asyncio.Event()  # each kind at least once
        self._armed: dict[str, Failpoint] = {}
        self._points: list[Failpoint] = []
        self._is_reply_doomed = False
        self._is_healed = False
        self._is_redis_away = False
        self._stops: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, mean_seconds: float) -> None:
        """Cause faults at random intervals, until cancelled: each kind once, in random order, then by chance.

        A fault that is impossible now, for instance without a ready worker, is tried again next time.
        """
        kinds, weights = zip(*RATES, strict=True)
        due = self._plan.sample(kinds, len(kinds))
        while due:
            await asyncio.sleep(self._plan.expovariate(1 / mean_seconds))
            begun = next((kind for kind in due if self._begin(kind)), None)
            if begun is not None:
                due.remove(begun)
        self.each_has_happened.set()
        while True:
            await asyncio.sleep(self._plan.expovariate(1 / mean_seconds))
            self._begin(self._plan.choices(kinds, weights)[0])

    def _begin(self, kind: str) -> bool:
        """Cause it; return False if it is impossible now."""
        worker = self._plan.choice(self.parts.ready) if self.parts.ready else None
        links = self._links()  # none while Redis is away
        match kind:
            case "latency" | "blackhole" | "slow link" | "connection reset":
                if links:
                    self._disturb(self._plan.choice(links), kind)
                return bool(links)
            case "redis kill" | "redis stop" | "script flush" | "client kill":
                if self._is_redis_away:
                    return False
                self._spawn(self._take_redis_away(kind) if kind.startswith("redis") else self._command(kind))
            case "hibernate":
                self._log.note("hibernate", "", label=kind)
                self._spawn(self._hibernate())
            case "reply lost":
                self._is_reply_doomed = True
            case _ if worker is None:
                return False
            case "failpoint":
                self._points = self._points or self._plan.sample(FAILPOINTS, len(FAILPOINTS))
                self._arm(worker, self._points.pop())
            case _:
                return self._harm(worker, kind)
        return True

    async def heal(self) -> None:
        """End all faults; return when Redis answers and no process is stopped."""
        self._is_healed = True
        self._armed.clear()
        for link in self._links():
            link.heal()
        for task in self._stops.values():
            task.cancel()
        for worker in self.parts.workers:
            worker.resume()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._log.report("--- healed")

    # --- what the links ask

    def fate(self, link: Link, requests: list[Request]) -> Fate:
        """Return the fate of requests that were sent together."""
        if self._is_healed:
            return PASS
        point = self._armed.get(link.name)
        if point is not None and any(request.name == point.script for request in requests):
            del self._armed[link.name]
            worker = next((worker for worker in self.parts.workers if worker.link is link), None)
            if worker is not None:
                return self._meet(point, worker)
        if self._is_reply_doomed and link.name.startswith("w"):
            self._is_reply_doomed = False
            return self._lose(link, requests, "reply lost")
        chance = self._rng.random()
        for kind, rate in REQUEST_RATES.items():
            chance -= rate
            if chance < 0:
                return self._lose(link, requests, kind)
        return PASS

    def _lose(self, link: Link, requests: list[Request], kind: str) -> Fate:
        self._log.note(kind, link.name, text=" ".join(sorted({request.name for request in requests})))
        return Fate({"reset": "reset", "request lost": "lose", "reply lost": "drop"}[kind])  # type: ignore[arg-type]

    def on_reply(self, link: Link, request: Request, reply: Any) -> None:
        """Record changes of owners."""
        if request.name not in {"claim", "release"} or not isinstance(reply, list):
            return
        arguments = [word.decode(errors="replace") for word in request.words[3 + int(request.words[2]) :]]
        if request.name == "claim":
            self._log.claimed(link.name, arguments[2], arguments[1], reply)
        else:
            self._log.released(link.name, arguments[0], int(arguments[2]), reply)

    def _arm(self, worker: Worker, point: Failpoint) -> None:
        self._armed[worker.name] = point
        asyncio.get_running_loop().call_later(ARMED_SECONDS, self._disarm, worker.name, point)
        if point.script == "release":  # it is rare otherwise
            self._spawn(self._hibernate())

    def _disarm(self, name: str, point: Failpoint) -> None:
        if self._armed.get(name) is point:
            del self._armed[name]

    def _meet(self, point: Failpoint, worker: Worker) -> Fate:
        seconds = self._rng.uniform(1.2, 3.0) * LEASE_SECONDS
        if point.what == "lose":
            self._log.note("reply lost", worker.name, text=point.script, label=str(point))
            return Fate("drop")
        if point.what == "kill":

            def happen() -> None:
                self._log.note("kill", worker.name, label=str(point))
                worker.kill()
        else:

            def happen() -> None:
                self._stop(worker, seconds, label=str(point))

        match point.when:
            case "before":
                happen()
                return Fate("reset") if point.what == "kill" else Fate(hold_seconds=seconds)
            case "half-way through":
                happen()
                return Fate("half")
            case "after":
                return Fate(then=happen)
        return Fate("drop", then=happen)

    # --- what happens by itself

    def _links(self) -> list[Link]:
        return [link for link in self.parts.links if link.is_used]

    def _disturb(self, link: Link, kind: str) -> None:
        seconds = self._rng.uniform(0.1, 2.0) * LEASE_SECONDS if kind == "blackhole" else self._rng.uniform(1.0, 4.0)
        if kind == "connection reset":
            self._log.note("reset", link.name, text=f"{link.reset()} connections", label=kind)
            return
        {"blackhole": link.cut, "latency": link.delay, "slow link": link.slow_down}[kind](seconds)
        self._log.note("cut" if kind == "blackhole" else kind, link.name, seconds=seconds, label=kind)

    def _harm(self, worker: Worker, kind: str) -> bool:
        match kind:
            case "kill":
                self._log.note("kill", worker.name)
                worker.kill()
            case "pause" if not worker.is_stopped:
                self._stop(worker, self._rng.uniform(0.2, 3.0) * LEASE_SECONDS, label="pause")
            case "drain":
                self._log.note("drain", worker.name)
                worker.is_ending = True
                worker.send(signal.SIGTERM)
            case "session kill" | "zygote kill":
                pids = worker.sessions() if kind == "session kill" else worker.zygotes()
                if not pids:
                    return False
                self._log.note(kind, worker.name)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._rng.choice(pids), signal.SIGKILL)
            case _:
                return False
        return True

    def _stop(self, worker: Worker, seconds: float, *, label: str) -> None:
        if not worker.is_stopped and not self._is_healed:
            self._log.note("pause", worker.name, seconds=seconds, label=label)
            worker.stop()
            self._stops[worker.name] = self._spawn(self._resume(worker, seconds))

    async def _resume(self, worker: Worker, seconds: float) -> None:
        await asyncio.sleep(seconds)
        worker.resume()

    async def _take_redis_away(self, kind: str) -> None:
        self._is_redis_away = True
        seconds = self._rng.uniform(0.05, 2.0) * LEASE_SECONDS
        self._log.note("down", "redis", seconds=seconds, label=kind)
        redis = self.parts.redis
        if kind == "redis kill":
            redis.kill()
            await asyncio.sleep(seconds)
            await self.parts.start_redis()
        else:
            redis.freeze()
            await asyncio.sleep(seconds)
            redis.thaw()
        self._is_redis_away = False

    async def _command(self, kind: str) -> None:
        self._log.note(kind, "redis", label=kind)
        words = ("SCRIPT", "FLUSH") if kind == "script flush" else ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with contextlib.suppress(RedisError, OSError):
            await self.parts.admin.execute_command(*words)

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._log.note("unhandled", "nemesis", text=repr(task.exception()))
