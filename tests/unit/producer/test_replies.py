"""The reader of a client's replies, on a link that does what a test tells it to."""

import asyncio
import contextlib
from types import SimpleNamespace
from unittest.mock import AsyncMock

import pytest

from skep.replies import ReplyReader
from skep_shared.broker.keys import Keys
from skep_shared.errors import ProtocolError

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


class LosesACancellation(SlowToEnd):
    """A link whose read loses its first cancellation, as the driver has done."""

    async def follow_replies(self, client_id):
        self.is_reading.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        self.is_ending.set()
        await asyncio.Event().wait()
        yield []


async def test_a_reader_whose_cancellation_is_lost_is_cancelled_again(monkeypatch):
    monkeypatch.setattr("skep_shared.broker.redis_client.cancellation.AGAIN_SECONDS", 0.0)
    link = LosesACancellation()
    reader = ReplyReader(link, "client")
    link.redis = SimpleNamespace(delete=AsyncMock())
    ticket = reader.ticket("s", "c")
    await link.is_reading.wait()

    await reader.aclose()

    assert link.is_ending.is_set()
    assert ticket.reply.cancelled()


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


async def test_a_failed_reader_ends_all_waits_and_the_next_ticket_restarts_it():
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
