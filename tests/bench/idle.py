"""Sessions that only exist: their memory, their processor time, what they cost others; and what an idle worker asks.

The round trip is measured as their number grows, each time in the same session, and compared with the two hops through Redis.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import fmean
from time import perf_counter, time
from typing import Any

from redis.asyncio import Redis

import skep

from .figures import Figure, Goal, Row
from .lab import Lab
from .pingpong import PingPong, ping_pong
from .processes import cpu_seconds, descendants, pss_megabytes
from .warm import warm_cells

NAME = "idle"
ABOUT = "1,000 resident sessions: memory, CPU, Redis commands; the round trip as sessions grow to 10,000 known"
PEERS: tuple[str, ...] = ()

AT_ONCE = 20
SETTLE_SECONDS = 2.0
BLOCKS = 5
LUA = "lua"


@dataclass(frozen=True, slots=True)
class Stage:
    """The round trip with so many sessions."""

    what: str
    cells: list[float]
    pings: list[float]
    redis_us: float
    redis_ping_us: float


async def make_resident(cluster: skep.Cluster, first: int, last: int) -> None:
    """Run a cell in each of these sessions, which then stay."""
    for start in range(first, last, AT_ONCE):
        async with asyncio.TaskGroup() as group:
            for number in range(start, min(start + AT_ONCE, last)):
                group.create_task(_first_cell(cluster.session(f"resident-{number}")))


async def _first_cell(session: skep.Session) -> None:
    (await session.run("x = 1")).raise_for_status()


async def make_known(cluster: skep.EmbeddedCluster, count: int) -> None:
    """Copy a hibernated session's keys until so many are known."""
    template = cluster.session("template")
    (await template.run("x = 1")).raise_for_status()
    await template.hibernate()
    redis, keys = cluster._link.redis, cluster._link.keys
    now = int(time() * 1000)
    kinds = [keys.session, keys.cells, keys.ids, keys.events, keys.checkpoints, keys.blobs]
    for start in range(0, count, 500):
        async with redis.pipeline(transaction=False) as pipe:
            for number in range(start, min(start + 500, count)):
                for key in kinds:
                    pipe.copy(key("template"), key(f"known-{number}"))
                pipe.zadd(keys.sessions, {f"known-{number}": now})
            await pipe.execute()


async def redis_commands(url: str, seconds: float) -> Counter[str]:
    """Return the commands that the server gets meanwhile, by name; those of scripts as `lua`; not our own reader's."""
    seen: Counter[str] = Counter()
    async with Redis.from_url(url) as client, client.monitor() as monitor:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    command: dict[str, Any] = await monitor.next_command()
                    if ":replies" not in command["command"]:
                        name = command["command"].partition(" ")[0].upper()
                        seen[LUA if command["client_type"] == LUA else name] += 1
    return seen


async def measure_stage(
    what: str, session: skep.Session, floor: PingPong, cluster: skep.EmbeddedCluster, rounds: int
) -> Stage:
    """Measure cells and pings in turns, then the server's processor time per cell."""
    cells: list[float] = []
    pings: list[float] = []
    await warm_cells(session, rounds)
    for _ in range(BLOCKS):
        pings += await floor.measure(rounds)
        cells += await warm_cells(session, rounds)
    before = await _redis_seconds(cluster)
    await warm_cells(session, rounds * 4)
    between = await _redis_seconds(cluster)
    await floor.measure(rounds * 4)
    after = await _redis_seconds(cluster)
    each = 1e6 / (rounds * 4)
    return Stage(what, cells, pings, (between - before) * each, (after - between) * each)


async def _redis_seconds(cluster: skep.EmbeddedCluster) -> float:
    info = await cluster._link.redis.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure an idle worker, then the stages of growth, then all those sessions at rest."""
    sizes, known, rounds = lab.pick(((10, 100, 1000), 10_000, 60), ((10, 100), 1000, 20))
    seconds = lab.pick(10.0, 5.0)
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(lab.cluster("--max-resident", str(sizes[-1] + 100)))
        floor = await stack.enter_async_context(ping_pong(cluster.redis_url))
        await asyncio.sleep(SETTLE_SECONDS)
        yield _commands("Redis commands of an idle worker", await _quiet_commands(cluster, seconds), seconds)
        session = cluster.session("resident-0")
        stages: list[Stage] = []
        made = 0
        started = perf_counter()
        making = 0.0
        for size in sizes:
            started = perf_counter()
            await make_resident(cluster, made, size)
            making += perf_counter() - started
            made = size
            stages.append(await measure_stage(f"{size:,} resident", session, floor, cluster, rounds))
        await make_known(cluster, known)
        stages.append(await measure_stage(f"{sizes[-1]:,} resident, {known:,} known", session, floor, cluster, rounds))
        for row in _growth(stages):
            yield row
        await asyncio.sleep(SETTLE_SECONDS)
        for row in await _at_rest(cluster, made, making, seconds):
            yield row
        yield _commands(f"Redis commands, {made:,} resident", await _quiet_commands(cluster, seconds), seconds)


async def _quiet_commands(cluster: skep.EmbeddedCluster, seconds: float) -> Counter[str]:
    return await redis_commands(cluster.redis_url, seconds)


def _commands(what: str, seen: Counter[str], seconds: float) -> Row:
    inside = seen.pop(LUA, 0)
    rate = seen.total() / seconds
    names = ", ".join(f"{name} {count / seconds:.1f}" for name, count in seen.most_common(6))
    note = f"{names}; inside scripts {inside / seconds:.1f}"
    return Row(what, Figure("skep", rate, "/s"), None, (), (Goal("commands/s", rate, 5.0),), note)


def _growth(stages: list[Stage]) -> list[Row]:
    rows = []
    for stage in stages:
        ours, base = Figure.of("skep", stage.cells), Figure.of("ping-pong", stage.pings)
        note = f"Redis CPU per cell {stage.redis_us:.0f} µs, per ping-pong {stage.redis_ping_us:.0f} µs"
        rows.append(Row(f"round trip, {stage.what}", ours, base, note=note))
    trips = [row.ours.value for row in rows if row.ours]
    costs = [stage.redis_us for stage in stages]
    ratios = [row.ours.value / row.floor.value for row in rows if row.ours and row.floor]
    rows.append(
        Row(
            "growth: the slowest stage to the fastest", Figure("skep", max(trips) / min(trips), "times"),
            goals=(
                Goal("round trips", max(trips) / min(trips), 1.2),
                Goal("Redis CPU per cell", max(costs) / min(costs), 1.2),
            ),
            note=f"as multiples of the ping-pong beside each: {max(ratios) / min(ratios):.2f}",
        )
    )  # fmt: skip
    return rows


async def _at_rest(cluster: skep.EmbeddedCluster, count: int, making: float, seconds: float) -> list[Row]:
    """Return memory and processor time of the worker and its sessions while nothing happens."""
    worker = cluster.worker_processes[0].pid
    zygote, *sessions = await asyncio.to_thread(descendants, worker)
    memory = await asyncio.to_thread(lambda: [pss_megabytes(pid) for pid in sessions])
    everybody = [worker, zygote, *sessions]
    before = {pid: cpu_seconds(pid) for pid in everybody}
    await asyncio.sleep(seconds)
    used = {pid: cpu_seconds(pid) - before[pid] for pid in everybody}
    total = sum(used.values()) / seconds * 100
    each = fmean(memory)
    return [
        Row(
            f"PSS of each of {len(sessions):,} session processes", Figure("skep", each, "MB"), None, (),
            (Goal("MB", each, 4.0), Goal("processes", len(sessions), count, at_least=True)),
            f"worker {pss_megabytes(worker):.0f} MB, zygote {pss_megabytes(zygote):.0f} MB; {count / making:.0f} new sessions/s",
        ),
        Row(
            f"CPU of the worker and {len(sessions):,} sessions", Figure("skep", total, "% of a core"), None, (),
            (Goal("% of a core", total, 2.0),),
            f"worker {used[worker] / seconds * 100:.1f} %",
        ),
    ]  # fmt: skip
