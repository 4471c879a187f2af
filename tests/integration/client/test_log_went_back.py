"""Redis comes back with an older state, as after a failover to a replica that lagged: nobody is left in the dark.

The server's files are copied, it goes on, is killed, and is started again on the copy.
"""

import asyncio
import contextlib
import secrets

import pytest

import skep
from skep_shared.broker.script_replies import Claim
from skep_shared.broker.scripts import Scripts
from skep_shared.event_codec import pack_event

pytestmark = pytest.mark.anyio

LONG_MS = 600_000


@pytest.fixture
def redis_server(stoppable_server):
    """A server of the test's own, in place of the shared one."""
    return stoppable_server


@pytest.fixture
def client_settings():
    """It soon looks again."""
    return {"command_timeout_seconds": 1, "block_seconds": 0.5}


@pytest.fixture
async def writer(shard):
    """Somebody who owns the session `s`, and writes its events as they are told to."""
    scripts = Scripts(shard._link.redis, shard._link.keys)
    await scripts.submit("s", [("c", b"x")], max_pending=10)

    class Writer:
        async def own(self):
            await scripts.heartbeat("w", LONG_MS, b"", patience_ms=LONG_MS)
            self.claim = await scripts.claim("s", "w", secrets.token_hex(8))
            assert isinstance(self.claim, Claim)
            self.last = self.claim.last_event

        async def say(self, *texts):
            """Write a line per text, and give the number of the last one."""
            said = {"kind": "output", "cell_id": "c", "seq": 1, "attempt": 1, "epoch": 1, "at": 0, "stream": "stdout"}
            events = [pack_event(said | {"text": text}) for text in texts]
            self.last = await scripts.emit(self.claim, self.last + 1, events)
            return self.last

    writer = Writer()
    await writer.own()
    return writer


async def take(events, count):
    return [await anext(events) for _ in range(count)]


def texts(events):
    return [event.text for event in events]


async def test_a_follower_learns_how_far_redis_went_back_and_continues_there(shard, writer, past):
    await writer.say(*"abc")
    past.keep()
    await writer.say(*"de")
    async with contextlib.aclosing(shard.session("s").events(follow=True)) as events:
        assert texts(await take(events, 5)) == list("abcde")
        await past.come_back()
        told = await anext(events)
        await writer.own()
        await writer.say("D")
        following = await anext(events)

    assert (told.kind, told.seen, told.last, told.id) == ("events.reset", "5-0", "3-0", "3-0")
    assert (following.id, following.text) == ("4-0", "D")


async def test_a_follower_that_checks_after_the_log_has_grown_again_learns_it_too(shard, writer, past):
    """Its connection was replaced while it was busy with what it had: nothing but the log itself is different."""
    await writer.say(*"abc")
    past.keep()
    await writer.say(*"de")
    async with contextlib.aclosing(shard.session("s").events(follow=True)) as events:
        assert texts(await take(events, 5)) == list("abcde")
        await past.come_back()
        await writer.own()
        await writer.say(*"DEFGH")
        told, *following = await take(events, 6)

    assert (told.kind, told.seen, told.last) == ("events.reset", "5-0", "3-0")
    assert texts(following) == list("DEFGH")


async def test_a_long_way_back_is_found_too(shard, writer, past):
    first = [f"first {number}" for number in range(1000)]
    await writer.say(*first)
    past.keep()
    await writer.say(*(f"lost {number}" for number in range(2000)))
    async with contextlib.aclosing(shard.session("s").events(follow=True)) as events:
        await take(events, 3000)
        await past.come_back()
        await writer.own()
        await writer.say(*(f"new {number}" for number in range(3000)))
        told = await anext(events)
        last = int(told.last.partition("-")[0])
        following = await take(events, 4000 - last)

    assert told.seen == "3000-0"
    assert 900 < last <= 1000  # what is said again is void, and said to be so
    assert texts(following) == [*first[last:], *(f"new {number}" for number in range(3000))]


@pytest.mark.parametrize("grown", [0, 9])
async def test_a_reader_between_two_pages_gets_the_event(shard, writer, past, monkeypatch, grown):
    monkeypatch.setattr("skep.reader.PAGE_EVENTS", 5)
    await writer.say(*"abc")
    past.keep()
    await writer.say(*"defghijkl")
    events = shard.session("s").events()
    seen = await take(events, 5)
    await past.come_back()
    await writer.own()
    if grown:
        await writer.say(*(f"n{number}" for number in range(grown)))
    rest = [event async for event in events]

    [told] = [event for event in rest if event.kind == "events.reset"]
    assert (told.seen, told.last) == (rest[rest.index(told) - 1].id if rest.index(told) else seen[-1].id, "3-0")
    assert texts(rest[rest.index(told) + 1 :]) == [f"n{number}" for number in range(grown)]


@pytest.mark.parametrize("follow", [False, True])
async def test_a_reader_that_resumes_after_the_end_gets_a_reset(shard, writer, follow):
    await writer.say(*"abc")

    async with contextlib.aclosing(shard.session("s").events("17-0", follow=follow)) as events:
        told = await anext(events)
        if follow:
            await writer.say("d")
            assert (await anext(events)).text == "d"
        else:
            assert [event async for event in events] == []

    assert (told.kind, told.seen, told.last) == ("events.reset", "17-0", "3-0")


async def test_a_restart_without_loss_is_not_reported(shard, writer, past):
    await writer.say(*"abc")
    past.keep()
    async with contextlib.aclosing(shard.session("s").events("1-0", follow=True)) as events:
        assert texts(await take(events, 2)) == list("bc")
        await past.come_back()
        await writer.own()
        await writer.say("d")
        assert (await anext(events)).text == "d"


async def test_the_loss_of_an_accepted_cell_is_reported(shard, past):
    session = shard.session("s")
    await session.submit("1", cell_id="kept")
    past.keep()
    lost = await session.submit("2", cell_id="lost")
    waiting = asyncio.create_task(lost.outcome())
    reading = asyncio.create_task(anext(lost.events()))
    await past.come_back()

    with pytest.raises(skep.CellForgotten) as caught:
        await waiting
    assert (caught.value.session_id, caught.value.cell_id) == ("s", "lost")
    assert (caught.value.seq, caught.value.last_seq) == (2, 1)
    with pytest.raises(skep.CellForgotten):
        await reading
    again = await session.submit("2", cell_id="lost")
    assert again.seq == 2
    with pytest.raises(skep.WaitTimeout):
        await again.outcome(timeout=1)


async def test_a_wait_on_a_purged_session_ends_with_an_error_that_says_so(shard, start_worker, gate, first_output):
    await start_worker()
    other = shard.session("s").cell("c")
    cell = await shard.session("s").submit("1", cell_id="c")
    await cell.outcome()
    await shard.session("s").close(purge=True)

    with pytest.raises(skep.NotFound):
        await shard.session("s").cell("d").outcome()
    assert (await other.outcome()).value == 1  # this client had the reply
