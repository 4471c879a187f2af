"""A long log and many who read it: paged, bounded, and all of them get all of it."""

import asyncio
import contextlib
import secrets

import pytest

import skep
from skep_shared.event_codec import pack_event
from skep_shared.script_replies import Claim
from skep_shared.scripts import Scripts
from skep_shared.settings import Settings

pytestmark = pytest.mark.anyio

LONG_MS = 600_000
BACKLOG_BYTES = 60 * 1024 * 1024
EVENT_BYTES = 64 * 1024
READERS = 1000


async def write(shard, session_id, texts):
    """Have somebody own the session, and write a line per text."""
    scripts = Scripts(shard._link.redis, shard._link.keys)
    await scripts.submit(session_id, [("c", b"x")], max_pending=10)
    await scripts.heartbeat("w", LONG_MS, b"", patience_ms=LONG_MS)
    claim = await scripts.claim(session_id, "w", secrets.token_hex(8))
    assert isinstance(claim, Claim)
    said = {"kind": "output", "cell_id": "c", "seq": 1, "attempt": 1, "epoch": 1, "at": 0, "stream": "stdout"}
    for number, text in enumerate(texts, start=1):
        await scripts.emit(claim, number, [pack_event(said | {"text": text})])


async def test_a_backlog_of_60_mib_is_read_from_end_to_end(shard):
    count = BACKLOG_BYTES // EVENT_BYTES
    await write(shard, "s", ("x" * EVENT_BYTES for _ in range(count)))

    ids = [event.id async for event in shard.session("s").events()]
    assert ids == [f"{number}-0" for number in range(1, count + 1)]


async def test_a_thousand_readers_come_back_at_once(shard):
    settings = Settings.load(
        redis_url=shard.settings.redis_url, prefix=shard.settings.prefix, max_connections=READERS + 64,
        command_timeout_seconds=20,
    )  # fmt: skip
    await write(shard, "s", ("a", "b", "c"))

    async def read(cluster):
        async with contextlib.aclosing(cluster.session("s").events("1-0", follow=True)) as events:
            return [(await anext(events)).text for _ in range(2)]

    async with skep.connect(settings=settings) as cluster:
        for _ in range(2):  # and once more, all at the same time
            got = await asyncio.gather(*(read(cluster) for _ in range(READERS)))
            assert got == [["b", "c"]] * READERS
            await shard._link.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
