"""release.lua: a session is given back, or ended for good, by its owner only."""

from dataclasses import replace

import pytest

from skep_shared.broker.script_replies import CellCommit
from skep_shared.errors import EventGap, Fenced

pytestmark = pytest.mark.anyio


@pytest.fixture
async def claim(shard):
    """The claim of w1 on a session whose cell `a` is committed with event 1."""
    await shard.submit("a")
    claim = await shard.claim("w1")
    await shard.commit(claim, CellCommit("a", 1, (b"e",)))
    return claim


async def test_a_released_session_has_no_owner(shard, claim):
    assert await shard.scripts.release(claim, "w1") == 0

    session = await shard.session()
    assert (session["owner"], session["token"], session["epoch"], session["state"]) == ("", "", "1", "open")
    assert await shard.owned("w1") == set()


async def test_a_session_without_pending_cells_does_not_wait_for_an_owner(shard, claim):
    await shard.scripts.release(claim, "w1")

    assert await shard.waiting() == {}


async def test_a_session_with_pending_cells_waits_for_the_next_owner(shard, claim):
    await shard.submit("b", "c")

    assert await shard.scripts.release(claim, "w1") == 2
    assert list(await shard.waiting()) == ["s"]


async def test_a_closing_session_that_is_released_unended_waits_for_the_next_owner(shard, claim):
    await shard.scripts.close("s")

    await shard.scripts.release(claim, "w1")

    assert (await shard.session())["state"] == "closing"
    assert list(await shard.waiting()) == ["s"]


async def test_a_release_sent_again_changes_nothing(shard, claim):
    await shard.submit("b")
    await shard.scripts.release(claim, "w1")
    before = await shard.dump()

    await shard.scripts.release(claim, "w1")

    assert await shard.dump() == before


async def test_a_release_that_arrives_late_leaves_the_next_owner_alone(shard, claim):
    await shard.scripts.release(claim, "w1")
    await shard.submit("b")
    await shard.claim("w2")
    before = await shard.dump()

    await shard.scripts.release(claim, "w1")

    assert await shard.dump() == before


async def test_a_release_two_owners_ago_is_fenced(shard, claim):
    await shard.scripts.release(claim, "w1")
    await shard.scripts.release(await shard.claim("w2"), "w2")
    before = await shard.dump()

    with pytest.raises(Fenced) as caught:
        await shard.scripts.release(claim, "w1")

    assert caught.value.epoch == 2
    assert await shard.dump() == before


@pytest.mark.parametrize("event", [b"", b"closed"], ids=["given back", "ended"])
@pytest.mark.parametrize("wrong", [{"token": "another"}, {"epoch": 0}, {"epoch": 2}])
async def test_a_stale_owner_releases_nothing(shard, claim, wrong, event):
    before = await shard.dump()

    with pytest.raises(Fenced) as caught:
        await shard.scripts.release(replace(claim, **wrong), "w1", closing_event=event, first_event=2)

    assert (caught.value.session_id, caught.value.epoch) == ("s", 1)
    assert await shard.dump() == before


async def test_an_owner_that_lost_its_session_releases_nothing(shard, claim):
    await shard.kill("w1")
    await shard.claim("w2")
    before = await shard.dump()

    with pytest.raises(Fenced):
        await shard.scripts.release(claim, "w1")
    assert await shard.dump() == before


async def test_the_closing_event_ends_the_session(shard, claim):
    assert await shard.scripts.release(claim, "w1", closing_event=b"closed", first_event=2) == 0

    session = await shard.session()
    assert (session["state"], session["owner"], session["token"], session["last"]) == ("closed", "", "", "2")
    assert await shard.events() == [("1-0", b"e"), ("2-0", b"closed")]
    assert await shard.owned("w1") == set()


async def test_an_ending_sent_again_changes_nothing(shard, claim):
    await shard.scripts.release(claim, "w1", closing_event=b"closed", first_event=2)
    before = await shard.dump()

    await shard.scripts.release(claim, "w1", closing_event=b"closed", first_event=2)

    assert await shard.dump() == before


async def test_a_session_with_pending_cells_is_not_ended(shard, claim):
    await shard.submit("b", "c")
    before = await shard.dump()

    assert await shard.scripts.release(claim, "w1", closing_event=b"closed", first_event=2) == 2
    assert await shard.dump() == before


@pytest.mark.parametrize("first", [1, 3])
async def test_a_closing_event_that_does_not_follow_is_refused(shard, claim, first):
    before = await shard.dump()

    with pytest.raises(EventGap) as caught:
        await shard.scripts.release(claim, "w1", closing_event=b"closed", first_event=first)

    assert (caught.value.expected, caught.value.last) == (first, 1)
    assert await shard.dump() == before


async def test_a_pending_cell_that_was_started_counts_as_lost_with_its_owner(shard):
    await shard.submit("a")
    claim = await shard.claim("w1")

    assert await shard.scripts.release(claim, "w1", was_started=True) == 1
    assert (await shard.claim("w2")).losses == 1


async def test_a_pending_cell_that_was_not_started_counts_as_new(shard):
    await shard.submit("a")
    claim = await shard.claim("w1")

    assert await shard.scripts.release(claim, "w1") == 1
    assert (await shard.claim("w2")).losses == 0
