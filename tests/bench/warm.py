"""A warm cell, submit to outcome, compared with the two hops through Redis that are its minimum."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from time import perf_counter

import skep

from .figures import Figure, Goal, Row
from .lab import Lab
from .pingpong import ping_pong

NAME = "warm"
ABOUT = "a warm cell `1+1`, submit to outcome"
PEERS: tuple[str, ...] = ("notebooks",)

CELL_SECONDS = 90.0  # a cell without an outcome by then is named, instead of the bench ending without a word


async def warm_cells(session: skep.Session, rounds: int, code: str = "1+1") -> list[float]:
    """Return the milliseconds from submit to outcome of cells in a session that is there."""
    taken = []
    for _ in range(rounds):
        started = perf_counter()
        outcome = await session.run(code, wait=CELL_SECONDS)
        taken.append((perf_counter() - started) * 1000)
        outcome.raise_for_status()
    return taken


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure in blocks that take turns, so that whatever else the machine does disturbs each alike."""
    rounds, blocks = lab.pick((200, 15), (50, 4))
    pings: list[float] = []
    cells: list[float] = []
    bare: list[float] = []
    kernels: list[float] = []
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(lab.cluster())
        floor = await stack.enter_async_context(ping_pong(cluster.redis_url))
        kernel, note = await lab.try_peer(stack, "notebooks", "notebook_kernel")
        if kernel is not None:
            await kernel.try_ask("warm", rounds=20)
        session = cluster.session("warm")
        unsaved = cluster.session("unsaved", options=skep.SessionOptions(durability="none"))
        await floor.measure(rounds)
        await warm_cells(session, rounds)
        await warm_cells(unsaved, rounds)
        for block in range(blocks):
            if block % 2:
                cells += await warm_cells(session, rounds)
                pings += await floor.measure(rounds)
            else:
                pings += await floor.measure(rounds)
                cells += await warm_cells(session, rounds)
            bare += await warm_cells(unsaved, rounds // 4)
            if kernel is not None:
                kernels += await kernel.try_ask("warm", rounds=rounds // 4) or []
    ours = Figure.of("skep", cells)
    base = Figure.of("ping-pong", pings)
    peers = (Figure.of("ipykernel", kernels),) if kernels else ()
    goals = [
        Goal("p50 / ping-pong's p50", ours.value / base.value, 2.0),
        Goal("p99 / own p50", (ours.p99 or 0) / ours.value, 3.0),
        *(Goal("times faster than ipykernel", peer.value / ours.value, 5.0, at_least=True) for peer in peers),
    ]
    yield Row("`1+1`", ours, base, peers, tuple(goals), note)
    yield Row("`1+1`, durability none", Figure.of("skep", bare), base)
