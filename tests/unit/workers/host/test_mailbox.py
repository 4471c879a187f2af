"""The reader of a mailbox passes on what it can read, in order."""

import asyncio

import pytest
import structlog

from skep_shared.broker.mailbox_entries import CellsSubmitted, CloseSession
from skep_workers.host.broker.mailbox import Mailbox

pytestmark = pytest.mark.anyio


class Stream:
    """Answers one blocking read with these entries, and none after it."""

    def __init__(self, *entries):
        self.page = [[f"{number}-0".encode(), flat] for number, flat in enumerate(entries, start=1)]
        self.asked_after = []

    async def execute_command(self, *command):
        self.asked_after.append(command[-1])
        if len(self.asked_after) > 1:
            await asyncio.Event().wait()
        return [[b"mailbox", self.page]]


async def received_from(stream, count):
    """Return the entries that arrive until there are so many."""
    received, is_complete = [], asyncio.Event()

    def on_entry(entry):
        received.append(entry)
        if len(received) == count:
            is_complete.set()

    reading = asyncio.create_task(Mailbox(stream, None, "mailbox", 1.0).run(on_entry))
    async with asyncio.timeout(10):
        await is_complete.wait()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    return received


async def test_an_entry_that_can_not_be_read_is_logged_and_does_not_hold_up_the_next_ones():
    stream = Stream(
        [b"k", b"wake", b"s", b"a", b"q", b"1"],
        [b"k", b"wake", b"s", b"a", b"q", b"one"],
        [b"other", b"fields"],
        [b"odd"],
        [b"k", b"close", b"s", b"b", b"q", b"0"],
    )
    with structlog.testing.capture_logs() as logged:
        assert await received_from(stream, 2) == [CellsSubmitted("a", 1), CloseSession("b")]

    assert [line["event"] for line in logged] == ["mailbox.malformed"] * 3
    assert stream.asked_after == [b"0-0", b"5-0"]


async def test_an_entry_that_reveals_a_defect_is_logged_and_does_not_hold_up_the_next_ones():
    """Its error ended the worker, and with it all other sessions."""
    entries = [[b"k", b"close", b"s", b"a", b"q", b"0"], [b"k", b"close", b"s", b"b", b"q", b"0"]]
    received, both = [], asyncio.Event()

    def on_entry(entry):
        received.append(entry.session_id)
        if len(received) == 1:
            raise OverflowError("cannot convert float infinity to integer")
        both.set()

    with structlog.testing.capture_logs() as logged:
        reading = asyncio.create_task(Mailbox(Stream(*entries), None, "mailbox", 1.0).run(on_entry))
        async with asyncio.timeout(10):
            await both.wait()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    assert received == ["a", "b"]
    assert [line["event"] for line in logged] == ["mailbox.failed"]
