"""Large output: 64 KiB writes to one reader, compared with pipelined XADDs of that size; and the worker's memory meanwhile."""

from collections.abc import AsyncIterator
from time import perf_counter

from redis.asyncio import Redis

import skep
from skep_shared.settings import WorkerSettings

from .figures import Figure, Goal, Row
from .floors import bandwidth
from .lab import Lab
from .processes import peak_megabytes

NAME = "bandwidth"
ABOUT = "1 GB of output in 64 KiB writes: MB/s at one reader, the worker's memory"
PEERS: tuple[str, ...] = ()

WRITE_BYTES = 64 * 1024
WRITES = "import sys\nblock = 'x' * {size}\nfor _ in range({count}): sys.stdout.write(block)\nsys.stdout.flush()"
# Of what back-pressure lets in there are that many copies: as read, as packed, as sent, and as kept to be sent again.
COPIES = 4


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure the bare stream first, then ours, on the same server."""
    count = lab.pick(16_384, 2048)
    size = count * WRITE_BYTES
    limit = WorkerSettings.model_fields["backlog_bytes"].default * COPIES / 1e6
    async with lab.cluster() as cluster, Redis.from_url(cluster.redis_url) as client:
        await bandwidth(client, "floor", WRITE_BYTES, 200)
        floor = Figure("pipelined XADD", await bandwidth(client, "floor", WRITE_BYTES, count), "MB/s")
        await client.delete("floor")
        session = cluster.session("much", options=skep.SessionOptions(output_limit=2 * size))
        await session.run("1+1")
        pid = cluster.worker_processes[0].pid
        before = peak_megabytes(pid)
        started = perf_counter()
        cell = await session.submit(WRITES.format(size=WRITE_BYTES, count=count))
        received = events = 0
        at_reader = 0.0
        async for event in cell.events():
            if event.kind == "output":
                received += len(event.text)
                events += 1
                at_reader = perf_counter() - started
        outcome = await cell.outcome()
        outcome.raise_for_status()
        grown = peak_megabytes(pid) - before
    if received != size:
        raise AssertionError(f"{size:,} bytes were written, {received:,} came")
    ours = Figure("skep", size / 1e6 / at_reader, "MB/s")
    goal = Goal("share of the XADD bandwidth", ours.value / floor.value, 0.5, at_least=True)
    yield Row(
        f"{size / 1e6:,.0f} MB in {WRITE_BYTES // 1024} KiB writes, at one reader", ours, floor, (), (goal,),
        f"{events:,} events; the cell itself {size / 1e3 / max(outcome.run_ms, 1):,.0f} MB/s",
    )  # fmt: skip
    wanted = Goal(f"MB, {COPIES} times backlog_bytes", grown, limit)
    yield Row("the worker's peak memory above what it had", Figure("skep", grown, "MB"), None, (), (wanted,))
