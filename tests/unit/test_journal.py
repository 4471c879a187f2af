"""What a session has to say goes to Redis in pieces of a bounded size, in order."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from skep_shared.script_replies import Claim
from skep_shared.settings import WorkerSettings
from skep_workers.host.journal import MAX_EMIT_BYTES, MAX_EMIT_EVENTS, Journal

pytestmark = pytest.mark.anyio

CLAIM = Claim("s", "token", 1, 0, 0, 0, 0, "", False, b"", 0)


class Scripts:
    """Takes what is emitted."""

    def __init__(self):
        self.emitted = []

    async def emit(self, claim, first_event, events, *, said=""):
        self.emitted.append(list(events))
        return first_event + len(events) - 1


async def emitted(events):
    """Give what a journal makes of these events, write by write."""
    scripts = Scripts()
    journal = Journal(scripts, CLAIM, WorkerSettings.load(prefix="t"), lambda: None, lambda *_: None)
    running = asyncio.create_task(journal.run())
    for event in events:
        journal.add(event)
    async with asyncio.timeout(10):
        await journal.written()
    running.cancel()
    return scripts.emitted


async def test_no_write_is_larger_than_the_limit():
    events = [bytes([number]) * (MAX_EMIT_BYTES // 3) for number in range(10)]
    written = await emitted(events)

    assert [event for write in written for event in write] == events
    assert max(sum(map(len, write)) for write in written) <= MAX_EMIT_BYTES


async def test_an_event_over_the_limit_goes_alone():
    events = [b"a", b"b" * (MAX_EMIT_BYTES + 1), b"c"]

    assert await emitted(events) == [[b"a"], [events[1]], [b"c"]]


async def test_no_write_has_more_events_than_the_limit():
    written = await emitted([b"x"] * (2 * MAX_EMIT_EVENTS + 1))

    assert [len(write) for write in written] == [MAX_EMIT_EVENTS, MAX_EMIT_EVENTS, 1]


class Notes(Scripts):
    """Answers what is sent ahead as it is told to, and takes what is awaited."""

    def __init__(self, answer):
        super().__init__()
        self._answer = answer
        self.posted, self.awaited = [], asyncio.Queue()

    def post_begin(self, claim, seq):
        self.posted.append(seq)
        if self._answer is None:
            return None
        reply = asyncio.get_running_loop().create_future()
        if isinstance(self._answer, Exception):
            reply.set_exception(self._answer)
        else:
            reply.set_result(self._answer)
        return reply

    async def begin(self, claim, seq):
        await self.awaited.put(seq)
        return seq


@pytest.mark.parametrize(
    "answer", [None, RedisConnectionError("lost"), NoScriptError("flushed"), [b"FENCED", 2]], ids=str
)
async def test_the_note_of_a_cell_that_begins_is_awaited_where_sending_it_ahead_has_failed(answer):
    scripts = Notes(answer)
    journal = Journal(scripts, CLAIM, WorkerSettings.load(prefix="t"), lambda: None, lambda *_: None)
    running = asyncio.create_task(journal.run())
    await asyncio.sleep(0)  # it runs: before that nothing is written
    journal.begin(1)

    async with asyncio.timeout(10):
        assert await scripts.awaited.get() == 1
    assert scripts.posted == [1]
    running.cancel()


async def test_the_note_of_a_cell_that_begins_is_sent_once():
    scripts = Notes([b"OK"])
    journal = Journal(scripts, CLAIM, WorkerSettings.load(prefix="t"), lambda: None, lambda *_: None)
    running = asyncio.create_task(journal.run())
    await asyncio.sleep(0)
    journal.begin(1)
    journal.begin(1)
    journal.add(b"event")
    async with asyncio.timeout(10):
        await journal.written()

    assert (scripts.posted, scripts.awaited.empty()) == ([1], True)
    running.cancel()
