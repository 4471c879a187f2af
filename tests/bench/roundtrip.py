"""How long a cell takes from submit to outcome, beside what two hops through Redis take at the least.

python -m tests.bench.roundtrip [--quick] [--json]

All of it is measured in one run on one Redis (append-only file, fsync every second) and one worker, in blocks that take
turns, so that whatever else the machine does disturbs each alike. Ratios travel between machines, milliseconds don't.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import skep

from .pingpong import PingPong, ping_pong

PACKAGES = ("skep", "redis", "hiredis", "arq", "uvloop")


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    blocks: int
    rounds: int
    cold_starts: int


FULL = Plan(blocks=20, rounds=200, cold_starts=100)
QUICK = Plan(blocks=5, rounds=60, cold_starts=20)


@dataclass(frozen=True)
class Row:
    """One measure, in milliseconds; `ratio` is that of its p50 to the ping-pong's."""

    name: str
    count: int
    p50_ms: float
    p99_ms: float
    ratio: float


async def measure_warm(session: skep.Session, rounds: int) -> list[float]:
    """Give the milliseconds from submit to outcome of cells in a session that is there."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        outcome = await session.run("1+1")
        taken.append((time.perf_counter() - started) * 1000)
        outcome.raise_for_status()
    return taken


async def measure_cold(cluster: skep.Cluster, count: int) -> list[float]:
    """Give the milliseconds from submit to outcome of first cells; the sessions are closed again off the clock."""
    taken = []
    for number in range(count):
        session = cluster.session(f"cold-{number}")
        taken += await measure_warm(session, 1)
        await session.close(purge=True)
    return taken


async def measure_pairs(session: skep.Session, floor: PingPong, plan: Plan) -> tuple[list[float], list[float]]:
    """Give ping-pong's and warm cells' milliseconds, measured in turns."""
    pings: list[float] = []
    cells: list[float] = []
    await floor.measure(plan.rounds)  # caches and connections get warm
    await measure_warm(session, plan.rounds)
    for block in range(plan.blocks):
        if block % 2:
            cells += await measure_warm(session, plan.rounds)
            pings += await floor.measure(plan.rounds)
        else:
            pings += await floor.measure(plan.rounds)
            cells += await measure_warm(session, plan.rounds)
    return pings, cells


async def measure(plan: Plan) -> tuple[list[Row], dict[str, str]]:
    """Give the rows and what they were measured with."""
    with tempfile.TemporaryDirectory(prefix="skep-bench-") as directory:
        async with skep.embedded(data_dir=Path(directory)) as cluster, ping_pong(cluster.redis_url) as floor:
            pings, cells = await measure_pairs(cluster.session("warm"), floor, plan)
            colds = await measure_cold(cluster, plan.cold_starts)
            server = await cluster._link.redis.info("server")
    base = statistics.median(pings)
    rows = [
        _row("two hops through Redis streams (ping-pong)", pings, base),
        _row("warm cell `1+1`, submit to outcome", cells, base),
        _row("first cell of a new session, submit to outcome", colds, base),
    ]
    versions = {name: version(name) for name in PACKAGES}
    versions |= {
        "python": platform.python_version(),
        "redis-server": str(server["redis_version"]),
        "cpus": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
    }
    return rows, versions


def _row(name: str, taken: list[float], base: float) -> Row:
    percentiles = statistics.quantiles(taken, n=100, method="inclusive")
    median = statistics.median(taken)
    return Row(name, len(taken), round(median, 3), round(percentiles[98], 3), round(median / base, 2))


def as_markdown(rows: list[Row], versions: dict[str, str]) -> str:
    """Give the table, and below it what it was measured with."""
    lines = ["| measured | n | p50 ms | p99 ms | p50 / ping-pong |", "|---|--:|--:|--:|--:|"]
    lines += [f"| {row.name} | {row.count} | {row.p50_ms:.2f} | {row.p99_ms:.2f} | {row.ratio:.1f} |" for row in rows]
    lines += ["", "AOF everysec; " + ", ".join(f"{name} {text}" for name, text in versions.items())]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.roundtrip", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds: some seconds instead of a minute")
    parser.add_argument("--json", action="store_true", help="JSON instead of a Markdown table")
    given = parser.parse_args()
    rows, versions = asyncio.run(measure(QUICK if given.quick else FULL))
    if given.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "versions": versions}, indent=2))
    else:
        print(as_markdown(rows, versions))


if __name__ == "__main__":
    main()
