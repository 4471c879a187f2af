"""Sessions that count their cells: each outcome's value tells whether a cell was lost, or took effect twice."""

import asyncio
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from time import perf_counter

import skep

OUTCOME_SECONDS = 60.0


@dataclass
class Tally:
    """What callers have seen."""

    cells: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # values that are not the session's number of cells
    errors: list[str] = field(default_factory=list)
    attempts: Counter[int] = field(default_factory=Counter)

    @property
    def again(self) -> int:
        """How many cells have run more than once."""
        return sum(count for attempt, count in self.attempts.items() if attempt > 1)

    def trouble(self) -> str:
        """Return the first words of what went wrong."""
        return "; ".join([*self.wrong[:3], *self.errors[:3]])


class Counters:
    """Many callers, each with one cell at a time in a session that no other caller uses."""

    def __init__(self, clusters: list[skep.Cluster], names: list[str], *, seed: int, began_with: int = 0) -> None:
        """`began_with` is how often the sessions have counted before."""
        self._clusters = clusters
        self._free = list(names)
        self._counts = defaultdict(lambda: began_with)
        self._rng = random.Random(seed)
        self._is_ending = False
        self.tally = Tally()

    def begin_anew(self) -> Tally:
        """Return what was seen so far, and begin another tally."""
        seen, self.tally = self.tally, Tally()
        return seen

    async def run(self, callers: int, *, pause_seconds: float = 0.0, slow_share: float = 0.0) -> None:
        """Run cells by this many callers until `end`. `slow_share` of the cells take a fifth of a second."""
        async with asyncio.TaskGroup() as group:
            for number in range(callers):
                group.create_task(self._call(self._clusters[number % len(self._clusters)], pause_seconds, slow_share))

    def end(self) -> None:
        """Run no more cells."""
        self._is_ending = True

    async def _call(self, cluster: skep.Cluster, pause_seconds: float, slow_share: float) -> None:
        while not self._is_ending:
            place = self._rng.randrange(len(self._free))
            self._free[place], self._free[-1] = self._free[-1], self._free[place]
            name = self._free.pop()
            await self._count(cluster.session(name), is_slow=self._rng.random() < slow_share)
            self._free.append(name)
            if pause_seconds:
                await asyncio.sleep(self._rng.expovariate(1 / pause_seconds))

    async def _count(self, session: skep.Session, *, is_slow: bool) -> None:
        tally = self.tally
        code = f"{'import time; time.sleep(0.2)' if is_slow else ''}\nn = globals().get('n', 0) + 1\nn"
        self._counts[session.id] += 1
        wanted = self._counts[session.id]
        started = perf_counter()
        try:
            outcome = await session.run(code, wait=OUTCOME_SECONDS)
        except (skep.SkepError, TimeoutError) as exc:
            tally.errors.append(f"{session.id}: {exc!r}")
            return
        tally.cells += 1
        tally.attempts[outcome.attempt] += 1
        if not is_slow:
            tally.latencies_ms.append((perf_counter() - started) * 1000)
        if outcome.value != wanted:
            tally.wrong.append(f"{session.id}: {outcome.value} for {wanted} ({outcome.status})")
            self._counts[session.id] = outcome.value if isinstance(outcome.value, int) else wanted
