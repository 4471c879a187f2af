"""Replay of a long event stream, compared with a loop that reads the same pages and decodes nothing."""

from collections.abc import AsyncIterator
from time import perf_counter, time
from typing import Any

from redis.asyncio import Redis

import skep
from skep_shared.event_codec import pack_event

from .figures import Figure, Goal, Row
from .lab import Lab

NAME = "replay"
ABOUT = "1,000,000 events from the first to the last, beside bare XRANGE pages"
PEERS: tuple[str, ...] = ()

PAGE = 1000
FILL = """
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
    redis.call('XADD', KEYS[1], number .. '-0', 'e', ARGV[3])
end
"""
FILL_AT_ONCE = 20_000


async def fill(client: Redis, key: str, events: int) -> None:
    """Write output events as a worker packs them, all of the same text."""
    event = {
        "kind": "output", "cell_id": "c" * 32, "seq": 1, "attempt": 1, "epoch": 1, "at": int(time() * 1000),
        "stream": "stdout", "text": "a line of forty characters, more or less\n",
    }  # fmt: skip
    packed = pack_event(event)
    for first in range(1, events + 1, FILL_AT_ONCE):
        last = min(first + FILL_AT_ONCE - 1, events)
        await client.eval(FILL, 1, key, first, last, packed)  # type: ignore[arg-type]


async def bare_pages(client: Redis, key: str) -> int:
    """Read every page; return the number of entries."""
    client.set_response_callback("XRANGE", lambda reply, **_: reply)
    start, read = "-", 0
    while True:
        page: list[Any] = await client.execute_command("XRANGE", key, start, "+", "COUNT", PAGE)
        read += len(page)
        if len(page) < PAGE:
            return read
        start = f"({page[-1][0].decode()}"


async def replayed(session: skep.Session) -> int:
    """Return the number of events that a reader gets."""
    read = 0
    async for _ in session.events():
        read += 1
    return read


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure both on one stream, written for it."""
    events = lab.pick(1_000_000, 100_000)
    async with lab.cluster() as cluster, Redis.from_url(cluster.redis_url) as client:
        session = cluster.session("long")
        key = cluster._link.keys.events(session.id)
        await fill(client, key, events)
        rates: dict[str, float] = {}
        for name, call in (("floor", lambda: bare_pages(client, key)), ("ours", lambda: replayed(session))):
            started = perf_counter()
            read = await call()
            rates[name] = events / (perf_counter() - started)
            if read != events:
                raise AssertionError(f"{events:,} events are there, {read:,} came ({name})")
    goal = Goal("share of the bare loop", rates["ours"] / rates["floor"], 0.5, at_least=True)
    floor = Figure("bare XRANGE pages", rates["floor"], "/s")
    yield Row(f"{events:,} events", Figure("skep", rates["ours"], "/s"), floor, (), (goal,))
