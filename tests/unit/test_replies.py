"""The reader of a client's replies, on a link that does what a test tells it to."""

import asyncio

import pytest

from skep.replies import ReplyReader
from skep_shared.keys import Keys

pytestmark = pytest.mark.anyio


class SlowToEnd:
    """A link whose read takes its time to end after it has been cancelled."""

    keys = Keys("t")

    def __init__(self):
        self.is_reading = asyncio.Event()
        self.is_ending = asyncio.Event()
        self.may_end = asyncio.Event()

    async def follow_replies(self, client_id):
        try:
            self.is_reading.set()
            await asyncio.Event().wait()
        finally:
            self.is_ending.set()
            await self.may_end.wait()
        yield []


async def test_closing_ends_with_the_callers_own_cancellation():
    link = SlowToEnd()
    reader = ReplyReader(link, "client")
    ticket = reader.ticket("s", "c")
    await link.is_reading.wait()
    closing = asyncio.create_task(reader.aclose())
    await link.is_ending.wait()
    closing.cancel()
    await asyncio.wait([closing])
    link.may_end.set()

    assert closing.cancelled()
    assert ticket.reply.cancelled()
