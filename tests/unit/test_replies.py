"""The reader of a client's replies, on a link that does what a test tells it to."""

import asyncio

import pytest

from skep.replies import ReplyReader
from skep_shared.errors import ProtocolError
from skep_shared.keys import Keys

pytestmark = pytest.mark.anyio


class SlowToEnd:
    """A link whose read takes its time to end after it has been cancelled."""

    keys = Keys("t")
    is_own_process = True

    def __init__(self):
        self.is_reading = asyncio.Event()
        self.is_ending = asyncio.Event()
        self.may_end = asyncio.Event()

    def check_use(self):
        """It may be used anywhere."""

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


class Broken(SlowToEnd):
    """A link whose read fails in a way that nobody has thought of, once; then it gives nothing."""

    def __init__(self):
        super().__init__()
        self.reads = 0

    async def follow_replies(self, client_id):
        self.reads += 1
        if self.reads == 1:
            raise KeyError("SECRETMARK")
        self.is_reading.set()
        await asyncio.Event().wait()
        yield []


async def test_a_reader_that_fails_tells_everybody_who_waits_and_the_next_ticket_starts_it_again():
    link = Broken()
    reader = ReplyReader(link, "client")
    ticket, operation = reader.ticket("s", "c"), reader.operation()
    for wait in (ticket.wait(), operation.reply):
        with pytest.raises(ProtocolError, match="replies can't be read: KeyError") as caught:
            await wait
        assert "SECRETMARK" not in str(caught.value)

    again = reader.ticket("s", "c")
    await link.is_reading.wait()
    assert again is ticket
    assert not again.reply.done()

    link.may_end.set()
    reader._was_used = False  # it has no Redis to take leave of
    await reader.aclose()
