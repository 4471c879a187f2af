"""What the scripts write into mailboxes and into the cells' streams is what workers read."""

import pytest

from skep_shared.broker.client_scripts import INLINE_BODY_BYTES
from skep_shared.broker.mailbox_entries import (
    CancelCell,
    CellsSubmitted,
    CloseSession,
    InputAnswer,
    InterruptCell,
    Operate,
    OperationRequest,
    SubmittedCell,
    unpack_mailbox_entry,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def owned(shard):
    """A shard in which worker w1 has session s, and its mailbox is empty."""
    await shard.submit("a")
    await shard.claim("w1")
    await shard.redis.delete(shard.keys.mailbox("w1"))
    return shard


async def mail(shard):
    return [unpack_mailbox_entry(fields) for _, fields in await shard.redis.xrange(shard.keys.mailbox("w1"))]


async def test_a_short_cell_is_the_same_in_the_mailbox_and_in_the_stream(owned):
    await owned.scripts.submit("s", [("b", b"body")], max_pending=10)

    [_, (_, fields)] = await owned.redis.xrange(owned.keys.cells("s"))
    [cell] = await mail(owned)
    assert cell == SubmittedCell.unpack("s", 2, fields) == SubmittedCell("s", 2, "b", b"body", cell.submitted_ms)
    assert cell.submitted_ms > 0


async def test_a_long_cell_is_announced(owned):
    await owned.scripts.submit("s", [("b", bytes(INLINE_BODY_BYTES + 1))], max_pending=10)

    assert await mail(owned) == [CellsSubmitted("s", 2)]


async def test_requests_arrive_as_they_were_sent(owned):
    request = OperationRequest("client", "o1", "variables", b"\x00", 12.5)
    await owned.scripts.control("s", "interrupt")
    await owned.scripts.control("s", "cancel", cell_id="a")
    await owned.scripts.control("s", "answer", fields=InputAnswer("s", "é").pack())
    await owned.scripts.control("s", "answer", fields=InputAnswer("s", None).pack())
    await owned.scripts.control("s", "operate", about="process", fields=request.pack())
    await owned.scripts.close("s")

    *entries, operate, close = await mail(owned)
    assert entries == [InterruptCell("s", 0), CancelCell("s", 1), InputAnswer("s", "é"), InputAnswer("s", None)]
    assert isinstance(operate, Operate)
    assert operate.request.pack() == request.pack()
    assert close == CloseSession("s")
