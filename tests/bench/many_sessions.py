"""Many sessions at once: 50 of 200 cells each, two workers, three client processes."""

import statistics
import time
from asyncio import gather
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from .figures import Figure, Goal, Row
from .floors import bare_queue
from .lab import Lab

NAME = "sessions"
ABOUT = "50 sessions of 200 cells on two workers, from three clients: cells per second, fairness"
PEERS: tuple[str, ...] = ()

SESSIONS, WORKERS, CLIENTS = 50, 2, 3
HELD_SECONDS = 4.0  # all cells are submitted by then


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure one session first, then all of them, on the same workers and from clients of the same kind."""
    cells, repeats = lab.pick((200, 3), (40, 1))
    names = [f"many-{number}" for number in range(SESSIONS)]
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(lab.cluster(workers=WORKERS))
        floor = await bare_queue(lab, cluster.redis_url, SESSIONS * cells)
        clients = [await stack.enter_async_context(lab.helper("client", cluster.redis_url)) for _ in range(CLIENTS)]
        shares = [names[number::CLIENTS] for number in range(CLIENTS)]
        await clients[0].ask("warm", sessions=["alone"], code="1+1")
        await gather(*(c.ask("warm", sessions=share, code="1+1") for c, share in zip(clients, shares, strict=True)))
        alone, together, spreads, middles, held = [], [], [], [], []
        for _ in range(repeats):
            given = await clients[0].ask("run", sessions=["alone"], code="1+1", cells=SESSIONS * cells)
            alone.append(SESSIONS * cells / (given["last"]["alone"] - given["started"]))
            asked = (
                c.ask("run", sessions=share, code="1+1", cells=cells) for c, share in zip(clients, shares, strict=True)
            )
            answers = await gather(*asked)
            started = min(answer["started"] for answer in answers)
            last = [end - started for answer in answers for end in answer["last"].values()]
            middle = [end - started for answer in answers for end in answer["median"].values()]
            together.append(SESSIONS * cells / max(last))
            spreads.append(_spread(last))
            middles.append(_spread(middle))
            begin_at = time.monotonic() + HELD_SECONDS
            asked = (
                c.ask("run", sessions=share, code="1+1", cells=cells, begin_at=begin_at)
                for c, share in zip(clients, shares, strict=True)
            )
            held.append(_spread([end - begin_at for answer in await gather(*asked) for end in answer["last"].values()]))
        owners: dict[str | None, int] = {}
        async for info in cluster.sessions():
            if info.id in names:
                owners[info.owner] = owners.get(info.owner, 0) + 1
    ours, single = Figure.of("skep", together, "/s"), Figure.of("skep, one session", alone, "/s")
    shared = " and ".join(str(count) for count in sorted(owners.values()))
    yield Row(
        f"{SESSIONS} sessions of {cells} cells", ours, floor, (single,),
        (Goal("times one session", ours.value / single.value, 1.3, at_least=True),),
        f"sessions per worker: {shared}",
    )  # fmt: skip
    yield Row(
        "fairness: how far a session's end is from the median session's", Figure.of("farthest", held, "%"),
        goals=(Goal("farthest, %", statistics.median(held), 10.0),),
        note="of the time since all of them began at once, with their cells submitted; begun as they are submitted "
        f"{statistics.median(spreads):.0f} %, each session's median cell {statistics.median(middles):.0f} %",
    )  # fmt: skip


def _spread(times: list[float]) -> float:
    median = statistics.median(times)
    return max(abs(time - median) for time in times) / median * 100
