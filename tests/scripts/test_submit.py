"""submit.lua: cells are appended in order, each id once, or not at all."""

import pytest

from skep_shared.broker.client_scripts import INLINE_BODY_BYTES, INLINE_CELLS
from skep_shared.broker.script_replies import CellCommit, Placed, SubmitStatus

pytestmark = pytest.mark.anyio


async def test_cells_are_numbered_in_the_order_given(shard):
    answer = await shard.submit("a", "b", "c")

    assert answer.status is SubmitStatus.OK
    assert answer.cells == (Placed(1), Placed(2), Placed(3))
    assert await shard.pending() == [("1-0", "a"), ("2-0", "b"), ("3-0", "c")]


async def test_the_body_is_stored_as_given(shard):
    body = bytes(range(256))
    await shard.scripts.submit("s", [("a", body)], max_pending=1)

    [(_, entry)] = await shard.redis.xrange(shard.keys.cells("s"))
    assert entry[b"b"] == body


async def test_numbers_go_on_from_one_submit_to_the_next(shard):
    await shard.submit("a", "b")
    answer = await shard.submit("c")

    assert answer.cells == (Placed(3),)


async def test_the_first_submit_creates_the_session(shard):
    await shard.submit("a")

    session = await shard.session()
    assert {name: session[name] for name in ("state", "owner", "token", "epoch", "seq", "cursor", "last")} == {
        "state": "open", "owner": "", "token": "", "epoch": "0", "seq": "1", "cursor": "0", "last": "0",
    }  # fmt: skip
    assert session["options"] == "options"
    assert await shard.redis.zscore(shard.keys.sessions, "s") == float(session["created_at"])


async def test_a_submit_of_no_cells_creates_no_session(shard):
    assert (await shard.submit()).cells == ()
    assert await shard.dump() == {}


async def test_options_of_a_later_submit_are_ignored(shard):
    await shard.submit("a")
    await shard.scripts.submit("s", [("b", b"")], max_pending=10, options=b"others")

    assert (await shard.session())["options"] == "options"


async def test_a_session_without_owner_waits_and_is_activated_once(shard):
    await shard.submit("a")
    await shard.submit("b")

    assert await shard.activations() == ["s"]
    assert list(await shard.waiting()) == ["s"]


async def test_a_session_that_waits_already_has_waited_since_then(shard):
    await shard.submit("a")
    await shard.redis.zadd(shard.keys.waiting, {"s": 1})

    await shard.submit("b")

    assert await shard.waiting() == {"s": 1}


async def test_a_dead_owner_counts_as_none(shard):
    await shard.submit("a")
    await shard.claim("w1")
    await shard.kill("w1")
    await shard.drop_activations()

    await shard.submit("b")

    assert await shard.activations() == ["s"]
    assert await shard.mail("w1") == []


async def test_a_live_owner_gets_the_cell_in_its_mailbox(shard):
    await shard.submit("a")
    await shard.claim("w1")
    await shard.drop_activations()

    await shard.submit("b")

    assert await shard.activations() == []
    assert await shard.mail("w1") == [{"k": "cell", "s": "s", "q": "2", "c": "b", "b": "body of b"}]


@pytest.mark.parametrize(("size", "kind"), [(INLINE_BODY_BYTES, "cell"), (INLINE_BODY_BYTES + 1, "wake")])
async def test_only_a_small_body_rides_in_the_mailbox(shard, size, kind):
    await shard.submit("a")
    await shard.claim("w1")

    await shard.scripts.submit("s", [("b", b"x" * size)], max_pending=10)

    [letter] = await shard.mail("w1")
    assert (letter["k"], letter["q"], "b" in letter) == (kind, "2", kind == "cell")


async def test_of_many_cells_the_first_ones_are_in_the_mailbox_and_one_entry_announces_the_others(shard):
    await shard.submit("a")
    await shard.claim("w1")

    await shard.submit(*[f"b{number}" for number in range(INLINE_CELLS + 10)])

    *riding, wake = await shard.mail("w1")
    assert [(letter["k"], letter["q"]) for letter in riding] == [("cell", str(2 + n)) for n in range(INLINE_CELLS)]
    assert wake == {"k": "wake", "s": "s", "q": str(1 + INLINE_CELLS + 10)}


async def test_no_cell_is_put_into_the_mailbox_after_one_that_is_too_large_for_it(shard):
    await shard.submit("a")
    await shard.claim("w1")

    large = b"x" * (INLINE_BODY_BYTES + 1)
    await shard.scripts.submit("s", [("b", b"x"), ("c", large), ("d", b"x"), ("e", large)], max_pending=10)

    assert [(letter["k"], letter["q"]) for letter in await shard.mail("w1")] == [("cell", "2"), ("wake", "5")]


async def test_a_resent_submit_changes_nothing_and_places_the_same(shard):
    first = await shard.submit("a", "b", client="c1")
    before = await shard.dump()

    again = await shard.submit("a", "b", client="c1")

    assert again.cells == first.cells
    assert await shard.dump() == before


async def test_a_resent_submit_sends_no_second_letter(shard):
    await shard.submit("a")
    await shard.claim("w1")
    await shard.submit("b")
    before = await shard.dump()

    await shard.submit("b")

    assert await shard.dump() == before


async def test_a_cell_id_twice_in_a_batch_is_one_cell(shard):
    answer = await shard.submit("a", "a", "b", "a", client="c1")

    assert answer.cells == (Placed(1), Placed(1), Placed(2), Placed(1))
    assert await shard.pending() == [("1-0", "a"), ("2-0", "b")]
    assert await shard.ids() == {"a": "p:1:c1", "b": "p:2:c1"}


async def test_a_batch_may_mix_known_and_new_cells(shard):
    await shard.submit("a", "b")

    answer = await shard.submit("b", "c", "a", "d")

    assert answer.cells == (Placed(2), Placed(3), Placed(1), Placed(4))


async def test_a_known_cell_keeps_its_first_body(shard):
    await shard.submit("a")
    await shard.scripts.submit("s", [("a", b"another body")], max_pending=10)

    [(_, entry)] = await shard.redis.xrange(shard.keys.cells("s"))
    assert entry[b"b"] == b"body of a"


async def test_a_committed_cell_is_answered_with_its_events(shard):
    await shard.submit("a")
    claim = await shard.claim()
    await shard.commit(claim, CellCommit("a", 1, (b"e1", b"e2")))
    before = await shard.dump()

    answer = await shard.submit("a", client="c1")

    assert answer.cells == (Placed(1, first_event=1, final_event=2),)
    assert answer.last_event == 2
    assert await shard.dump() == before


async def test_each_client_is_noted_once(shard):
    for client in ("c1", "c2", "c1", "", "c2"):
        await shard.submit("a", client=client)

    assert await shard.ids() == {"a": "p:1:c1,c2"}


async def test_a_client_whose_id_ends_like_another_is_noted_too(shard):
    await shard.submit("a", client="c12")
    await shard.submit("a", client="2")

    assert await shard.ids() == {"a": "p:1:c12,2"}


async def test_sessions_are_numbered_apart(shard):
    await shard.submit("a", "b", sid="s1")
    answer = await shard.submit("a", sid="s2")

    assert answer.cells == (Placed(1),)


@pytest.mark.parametrize("owned", [True, False], ids=["closing", "closed"])
async def test_a_session_that_ends_accepts_no_new_cell(shard, owned):
    await shard.submit("a")
    claim = await shard.claim()
    await shard.commit(claim, CellCommit("a", 1, (b"e",)))
    if not owned:
        await shard.scripts.release(claim, "w1")
    await shard.scripts.close("s")
    before = await shard.dump()

    answer = await shard.submit("a", "b")

    assert (answer.status, answer.cells) == (SubmitStatus.CLOSED, ())
    assert await shard.dump() == before


async def test_a_closed_session_still_answers_for_its_cells(shard):
    await shard.submit("a")
    claim = await shard.claim()
    await shard.commit(claim, CellCommit("a", 1, (b"e",)))
    await shard.scripts.release(claim, "w1")
    await shard.scripts.close("s")

    answer = await shard.submit("a")

    assert answer.cells == (Placed(1, first_event=1, final_event=1),)


@pytest.mark.parametrize("cell_id", ["{}", "../up", "a:b", "p:1:c", "%d+", "é 日本 🐝", "a b"])
async def test_any_printable_cell_id_is_its_own(shard, cell_id):
    await shard.submit("other", cell_id)

    answer = await shard.submit(cell_id)

    assert answer.cells == (Placed(2),)
    assert (await shard.pending())[1] == ("2-0", cell_id)


async def test_in_a_chain_a_known_cell_after_a_new_one_is_refused_before_anything_is_written(shard):
    await shard.submit("a", client="c1")
    before = await shard.dump()
    answer = await shard.scripts.submit("s", [("b", b""), ("a", b""), ("c", b"")], max_pending=9, is_chain=True)

    assert (answer.status, answer.known, answer.cells) == (SubmitStatus.KNOWN, "a", ())
    assert await shard.dump() == before


async def test_a_chain_may_follow_known_cells_and_may_be_sent_again(shard):
    await shard.submit("a")
    chain = [("a", b""), ("b", b""), ("c", b"")]
    for _ in range(2):
        answer = await shard.scripts.submit("s", chain, max_pending=9, is_chain=True)
        assert answer.cells == (Placed(1), Placed(2), Placed(3))


async def test_in_a_chain_the_order_of_known_cells_is_checked_before_a_closed_session_or_a_full_backlog(shard):
    await shard.submit("a", "b")
    answer = await shard.scripts.submit("s", [("c", b""), ("a", b"")], max_pending=2, is_chain=True)

    assert answer.status is SubmitStatus.KNOWN
