"""A long log and many readers: reads are paged and bounded, and every reader receives everything."""

import asyncio
import contextlib
import secrets

import pytest

import skep
from skep_shared.broker.script_replies import Claim
from skep_shared.broker.scripts import Scripts
from skep_shared.event_codec import pack_event
from skep_shared.settings import Settings

pytestmark = pytest.mark.anyio

LONG_MS = 600_000
BACKLOG_BYTES = 60 * 1024 * 1024
EVENT_BYTES = 64 * 1024
READERS = 1000


SAID = {"kind": "output", "cell_id": "c", "seq": 1, "attempt": 1, "epoch": 1, "at": 0, "stream": "stdout"}


async def write(shard, session_id, texts):
    """Claim the session and write a line for each text. Return a function that writes another one, by its number."""
    scripts = Scripts(shard._link.redis, shard._link.keys)
    await scripts.submit(session_id, [("c", b"x")], max_pending=10)
    await scripts.heartbeat("w", LONG_MS, b"", patience_ms=LONG_MS)
    claim = await scripts.claim(session_id, "w", secrets.token_hex(8))
    assert isinstance(claim, Claim)

    async def say(number, text):
        await scripts.emit(claim, number, [pack_event(SAID | {"text": text})])

    for number, text in enumerate(texts, start=1):
        await say(number, text)
    return say


async def test_a_backlog_of_60_mib_is_read_from_end_to_end(shard):
    count = BACKLOG_BYTES // EVENT_BYTES
    await write(shard, "s", ("x" * EVENT_BYTES for _ in range(count)))

    ids = [event.id async for event in shard.session("s").events()]
    assert ids == [f"{number}-0" for number in range(1, count + 1)]


async def test_a_thousand_readers_resume_at_once(shard):
    settings = Settings.load(
        redis_url=shard.settings.redis_url, prefix=shard.settings.prefix, max_connections=READERS + 64,
        command_timeout_seconds=20,
    )  # fmt: skip
    await write(shard, "s", ("a", "b", "c"))

    async def read(cluster):
        async with contextlib.aclosing(cluster.session("s").events("1-0", follow=True)) as events:
            return [(await anext(events)).text for _ in range(2)]

    async with skep.connect(settings=settings) as cluster:
        for _ in range(2):  # again, all at the same time
            got = await asyncio.gather(*(read(cluster) for _ in range(READERS)))
            assert got == [["b", "c"]] * READERS
            await shard._link.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


class Follower:
    """Follows session `s`, and signals when an event has arrived."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.texts = []
        self.heard = asyncio.Semaphore(0)

    async def follow(self, count):
        async with contextlib.aclosing(self.cluster.session("s").events(follow=True)) as events:
            async for event in events:
                self.texts.append(event.text)
                self.heard.release()
                if len(self.texts) == count:
                    return


@pytest.fixture
async def crowded(shard):
    """A client with far fewer connections than followers, whose reads end only when an event has arrived."""
    settings = Settings.load(
        redis_url=shard.settings.redis_url, prefix=shard.settings.prefix, max_connections=8, block_seconds=60
    )
    async with skep.connect(settings=settings) as cluster:
        yield cluster


async def test_more_followers_than_connections_all_receive_an_event_at_once(shard, crowded):
    say = await write(shard, "s", ("a",))
    followers = [Follower(crowded) for _ in range(40)]

    async with asyncio.TaskGroup() as group:
        for follower in followers:
            group.create_task(follower.follow(3))
        for number, text in (2, "b"), (3, "c"):
            for follower in followers:
                await follower.heard.acquire()
            assert (await crowded.session("s").info()).last_event == number - 1
            await say(number, text)

    assert [follower.texts for follower in followers] == [["a", "b", "c"]] * 40


async def test_followers_that_share_a_connection_survive_its_loss(shard, crowded):
    say = await write(shard, "s", ("a",))
    followers = [Follower(crowded) for _ in range(12)]

    async with asyncio.TaskGroup() as group:
        for follower in followers:
            group.create_task(follower.follow(2))
        for follower in followers:
            await follower.heard.acquire()
        await shard._link.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await say(2, "b")

    assert [follower.texts for follower in followers] == [["a", "b"]] * 12


async def test_a_follower_that_stops_does_not_affect_the_others(shard, crowded):
    say = await write(shard, "s", ("a",))
    followers = [Follower(crowded) for _ in range(12)]
    tasks = [asyncio.create_task(follower.follow(2)) for follower in followers]
    for follower in followers:
        await follower.heard.acquire()
    for task in tasks[::2]:
        task.cancel()
    await asyncio.wait(tasks[::2])
    await say(2, "b")
    await asyncio.gather(*tasks[1::2])

    assert [follower.texts for follower in followers] == [["a"], ["a", "b"]] * 6
