"""What a session has to say goes to Redis in pieces of a bounded size, in order."""

import asyncio

import pytest

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
