"""What could grow without end is bounded: mailboxes of stuck workers, replies of clients that went away, backlogs."""

import pytest

from skep_shared.broker.client_scripts import INLINE_BODY_BYTES
from skep_shared.broker.script_replies import (
    CellCommit,
    ClaimStatus,
    Closed,
    Controlled,
    ControlStatus,
    Placed,
    SubmitStatus,
)

pytestmark = pytest.mark.anyio

MOST = 100_000
SLACK = 200  # the server drops whole nodes of a stream, see XADD's `~`


@pytest.fixture
def overfull(shard):
    """Fill a stream to above its bound."""

    async def fill(stream):
        await shard.redis.eval(
            "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'k', '') end", 1, stream, MOST + 2 * SLACK
        )
        assert await shard.redis.xlen(stream) == MOST + 2 * SLACK
        return stream

    return fill


@pytest.mark.parametrize("size", [1, INLINE_BODY_BYTES + 1], ids=["cell", "wake"])
async def test_a_submit_keeps_the_mailbox_bounded(shard, overfull, size):
    await shard.submit("a")
    await shard.claim("w1")
    mailbox = await overfull(shard.keys.mailbox("w1"))

    answer = await shard.scripts.submit("s", [("b", b"x" * size)], max_pending=9)

    assert answer.status is SubmitStatus.OK
    assert await shard.redis.xlen(mailbox) <= MOST + SLACK


async def test_a_claim_keeps_the_mailbox_bounded(shard, overfull):
    await shard.submit("a")
    await shard.claim("w1")
    await shard.join("w2")
    mailbox = await overfull(shard.keys.mailbox("w1"))

    assert await shard.scripts.claim("s", "w2", "t2") is ClaimStatus.OWNED
    assert await shard.redis.xlen(mailbox) <= MOST + SLACK


async def test_a_request_keeps_the_mailbox_bounded(shard, overfull):
    await shard.submit("a")
    await shard.claim("w1")
    mailbox = await overfull(shard.keys.mailbox("w1"))

    assert await shard.scripts.control("s", "interrupt") == Controlled(ControlStatus.OK)
    assert await shard.redis.xlen(mailbox) <= MOST + SLACK


async def test_a_close_keeps_the_mailbox_bounded(shard, overfull):
    await shard.submit("a")
    await shard.claim("w1")
    mailbox = await overfull(shard.keys.mailbox("w1"))

    assert await shard.scripts.close("s") == Closed("CLOSING", 0)
    assert await shard.redis.xlen(mailbox) <= MOST + SLACK


async def test_a_commit_keeps_the_replies_bounded(shard, overfull):
    await shard.submit("a", client="c1")
    claim = await shard.claim("w1")
    replies = await overfull(shard.keys.replies("c1"))

    assert await shard.commit(claim, CellCommit("a", 1, (b"e",))) == 1
    assert await shard.redis.xlen(replies) <= MOST + SLACK


async def test_a_batch_that_does_not_fit_is_refused_whole(shard):
    await shard.submit("a", "b", most=3)
    before = await shard.dump()

    answer = await shard.submit("c", "d", most=3)

    assert (answer.status, answer.pending, answer.cells) == (SubmitStatus.FULL, 2, ())
    assert await shard.dump() == before


async def test_a_new_session_that_would_be_too_full_is_not_created(shard):
    answer = await shard.submit("a", "b", most=1)

    assert answer.status is SubmitStatus.FULL
    assert await shard.dump() == {}


async def test_a_batch_that_fits_exactly_is_accepted(shard):
    await shard.submit("a", "b", most=3)

    assert (await shard.submit("c", most=3)).status is SubmitStatus.OK


async def test_known_cells_take_no_room(shard):
    await shard.submit("a", "b", most=2)

    answer = await shard.submit("a", "b", most=2)

    assert answer.cells == (Placed(1), Placed(2))


async def test_a_cell_id_that_occurs_twice_in_a_batch_counts_once(shard):
    answer = await shard.submit("a", "a", "a", most=1)

    assert answer.status is SubmitStatus.OK


async def test_committed_cells_make_room(shard):
    await shard.submit("a", most=1)
    claim = await shard.claim()
    await shard.commit(claim, CellCommit("a", 1, (b"e",)))

    assert (await shard.submit("b", most=1)).cells == (Placed(2),)
