"""The services of a soak: they submit oracle cells, submit again after unclear answers, and follow the streams.

The cell is the one that the checker knows: `h = sha(h + cell_id); n += 1`, known lines, `(n, h)`. What a worker restores
wrong shows in h too: the state is also in a file of the session, and a larger value follows from h, for checkpoints
whose chunks travel by themselves.
"""

import asyncio
import contextlib
import random
from collections.abc import Iterable
from typing import Any

import skep
from skep_shared.errors import SkepError
from skep_shared.event_codec import unpack_event
from skep_shared.events import Event, ResetEvent, TrimmedEvent, event_number

from ..checker.history import digest
from .soak_log import SoakLog, now_ms

TRIES = 6
OUTCOME_SECONDS = 60.0
AGAIN_SECONDS = 0.1
CELL_SHARE_WITH_BALLAST = 0.15
SHARE_OF_BATCHES_THAT_STOP = 0.3  # on an error
RECONNECT_SECONDS = 15.0  # on average; then a reader resumes where it was, with another connection

ORACLE_CELL = """
import hashlib, pathlib, time

place = pathlib.Path("state.txt")
kept = place.read_text().split("|") if place.exists() else [" 0"]
n, h, ballast, mark = (globals().get(name, value) for name, value in dict(n=0, h="", ballast=b"", mark=None).items())
if f"{h} {n}" not in kept:
    h += f"file {kept!r}"
if mark is not None and ballast != hashlib.shake_256(mark.encode()).digest(200_000):
    h += "ballast"
for line in range(lines):
    print(cell_id, line)
    time.sleep(seconds / lines)
state = n + 1, hashlib.sha256((h + cell_id).encode()).hexdigest()[:16]
new = pathlib.Path("state.new")
new.write_text(f"{h} {n}|{state[1]} {state[0]}")  # both: an interrupt may come before the next line
new.replace(place)  # at once: one that came in the middle of writing would leave an empty file
n, h = state
if has_ballast:
    mark, ballast = None, hashlib.shake_256(h.encode()).digest(200_000)
    mark = h
(n, h)
"""
PROBE_CELL = """
import pathlib
(n, h) if f"{h} {n}" in pathlib.Path("state.txt").read_text().split("|") else (n, h + " but not in the file")
"""


def content(event: Event) -> str:
    """Return a digest of an event as a reader received it."""
    return digest(repr(event).encode())


def stored_content(session: str, number: int, packed: bytes) -> str:
    """Return the digest of an event that a reader should have received."""
    return content(unpack_event(session, f"{number}-0", packed))


class Service:
    """One client process of the shard."""

    def __init__(self, name: str, cluster: skep.Cluster, sessions: list[str], seed: int, log: SoakLog) -> None:
        self.name = name
        self._cluster = cluster
        self._sessions = sessions
        self._rng = random.Random(f"{name} {seed}")
        self._log = log
        self._cells = 0
        self._is_ending = False
        self._waits: set[asyncio.Task[None]] = set()
        self.outcomes: dict[tuple[str, str], tuple[str, Any]] = {}

    async def submit(self, mean_seconds: float) -> None:
        """Submit cells until `end`; then wait for the outcomes that are still awaited."""
        while not self._is_ending:
            await asyncio.sleep(self._rng.expovariate(1 / mean_seconds))
            await self._submit_some(self._rng.choice(self._sessions))
        if self._waits:
            await asyncio.wait(self._waits)

    def end(self) -> None:
        """Stop submitting."""
        self._is_ending = True

    async def _submit_some(self, session: str) -> None:
        rng = self._rng
        plans: dict[str, dict[str, Any]] = {}
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            self._cells += 1
            plans[f"{self.name}-{self._cells}"] = {
                "lines": rng.choice((1, 2, 5)), "seconds": rng.choice((0.0, 0.0, 0.0, 0.02, 0.2, 0.5)),
                "has_ballast": rng.random() < CELL_SHARE_WITH_BALLAST,
            }  # fmt: skip
        requests = [
            skep.CellRequest(
                code=ORACLE_CELL, cell_id=cell_id, inputs={"cell_id": cell_id, **plan}, max_attempts=rng.choice((3, 20))
            )
            for cell_id, plan in plans.items()
        ]
        started = now_ms()
        stops = len(requests) > 1 and rng.random() < SHARE_OF_BATCHES_THAT_STOP
        before = [None, *plans]
        cells = await self._until_answered(session, requests, stops=stops)
        ended = now_ms()
        for number, (cell_id, plan) in enumerate(plans.items()):
            seq = cells[number].seq if cells else None
            self._log.history.add(
                {
                    "op": "submit", "client": self.name, "session": session, "cell": cell_id,
                    "status": "ok" if cells else "unknown", "seq": seq, "from": started, "to": ended,
                    "lines": plan["lines"], "kind": "oracle", "after": before[number] if stops else None,
                }
            )  # fmt: skip
        if cells and rng.random() < 0.05:  # a client that lost the answer, and submits again much later
            again = await self._until_answered(session, requests, stops=stops)
            if again and [cell.seq for cell in again] != [cell.seq for cell in cells]:
                self._log.note("unhandled", self.name, text=f"submitted twice, two places: {cells} {again}")
        for cell in cells:
            if rng.random() < 0.5:
                wait = asyncio.create_task(self._await_outcome(cell))
                self._waits.add(wait)
                wait.add_done_callback(self._waits.discard)
        if rng.random() < 0.5 and self._waits:
            await asyncio.wait(self._waits, timeout=5, return_when=asyncio.FIRST_COMPLETED)

    async def _until_answered(self, session: str, requests: list[skep.CellRequest], *, stops: bool) -> list[skep.Cell]:
        for _ in range(TRIES):
            with contextlib.suppress(skep.RedisUnavailable):
                return await self._cluster.session(session).submit_many(requests, stop_on_error=stops)
            self._log.faults["submits that were told that Redis is away"] += 1
        return []

    async def _await_outcome(self, cell: skep.Cell) -> None:
        while True:  # as long as it takes: the drain has a bound
            try:
                outcome = await cell.outcome(OUTCOME_SECONDS)
            except skep.RedisUnavailable:
                self._log.faults["waits that were told that Redis is away"] += 1
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            except skep.WaitTimeout:  # while faults go on, there is no bound on when a cell ends
                self._log.faults["waits that took a minute"] += 1
                continue
            except SkepError as exc:
                self._log.note("unhandled", self.name, text=f"no outcome of {cell}: {exc!r}")
                return
            value = list(outcome.value) if isinstance(outcome.value, tuple) else outcome.value
            self.outcomes[cell.session_id, cell.id] = (str(outcome.status), value)
            return

    async def hibernate(self, count: int) -> None:
        """Hibernate some sessions, if they are idle."""
        for name in self._rng.sample(self._sessions, min(count, len(self._sessions))):
            with contextlib.suppress(SkepError):  # cells are running, or no worker has the session
                await self._cluster.session(name).hibernate()

    async def probe(self, session: str) -> tuple[Any, ...]:
        """Return the state in the session's checkpoint, after hibernating the session."""
        handle = self._cluster.session(session)
        await handle.hibernate()
        outcome = await handle.run(PROBE_CELL, wait=OUTCOME_SECONDS)
        return tuple(outcome.value) if isinstance(outcome.value, tuple) else (outcome.status, str(outcome.error))


class Reader:
    """A reader that follows a session, and resumes where it was."""

    def __init__(self, name: str, cluster: skep.Cluster, session: str, seed: int, log: SoakLog) -> None:
        self.name = name
        self.session = session
        self.last = 0
        self._cluster = cluster
        self._rng = random.Random(f"{name} {seed}")
        self._log = log

    async def run(self) -> None:
        """Follow until cancelled."""
        self._log.history.add({"op": "reader", "reader": self.name, "session": self.session, "after": 0})
        handle = self._cluster.session(self.session)
        while True:
            with contextlib.suppress(skep.RedisUnavailable, TimeoutError):
                async with (
                    asyncio.timeout(self._rng.expovariate(1 / RECONNECT_SECONDS)),
                    contextlib.aclosing(handle.events(f"{self.last}-0", follow=True)) as events,  # type: ignore[type-var]
                ):
                    async for event in events:
                        self._record(event)

    def _record(self, event: Event) -> None:
        if isinstance(event, ResetEvent | TrimmedEvent):  # Redis keeps all that it has acknowledged, and nothing is old
            self._log.note("unhandled", self.name, text=repr(event))
            return
        self.last = event_number(event.id)
        self._log.history.add(
            {"op": "read", "reader": self.name, "session": self.session, "id": self.last, "digest": content(event)}
        )


def wrong_outcomes(outcomes: dict[tuple[str, str], tuple[str, Any]], events: Iterable[dict[str, Any]]) -> list[str]:
    """Report the outcomes that differ from the stream."""
    ends: dict[tuple[str, str], tuple[str, Any]] = {}
    values: dict[tuple[str, str, int], Any] = {}
    for op in events:
        if op["op"] == "event" and op.get("cell") is not None:
            if op["kind"] == "result":
                values[op["session"], op["cell"], op["attempt"]] = op.get("value")
            elif op["kind"] == "cell.finished":
                value = values.get((op["session"], op["cell"], op["attempt"]))
                ends[op["session"], op["cell"]] = (op["status"], value if op["status"] == "finished" else None)
    return [f"{key}: {told}, not {ends.get(key)}" for key, told in outcomes.items() if ends.get(key) != told]
