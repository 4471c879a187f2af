"""emit.lua: events of a running cell, whole and once, from the owner only."""

from dataclasses import replace

import pytest

from skep_shared.broker.script_replies import CellCommit
from skep_shared.errors import EventGap, Fenced

pytestmark = pytest.mark.anyio


@pytest.fixture
async def claim(shard):
    await shard.submit("a", "b")
    return await shard.claim("w1")


async def test_events_get_dense_ids(shard, claim):
    assert await shard.scripts.emit(claim, 1, [b"x", b"y"]) == 2
    assert await shard.scripts.emit(claim, 3, [b"z"]) == 3

    assert await shard.events() == [("1-0", b"x"), ("2-0", b"y"), ("3-0", b"z")]
    assert (await shard.session())["last"] == "3"


async def test_events_are_stored_byte_by_byte(shard, claim):
    event = bytes(range(256))
    await shard.scripts.emit(claim, 1, [event, b""])

    assert await shard.events() == [("1-0", event), ("2-0", b"")]


async def test_events_leave_the_cursor_alone(shard, claim):
    await shard.scripts.emit(claim, 1, [b"x"])

    assert (await shard.session())["cursor"] == "0"
    assert len(await shard.pending()) == 2


async def test_a_thousand_events_go_in_one_call(shard, claim):
    events = [b"%d" % n for n in range(1000)]

    assert await shard.scripts.emit(claim, 1, events) == 1000
    assert [event for _, event in await shard.events()] == events


async def test_a_batch_sent_again_changes_nothing(shard, claim):
    await shard.scripts.emit(claim, 1, [b"x", b"y"])
    before = await shard.dump()

    assert await shard.scripts.emit(claim, 1, [b"x", b"y"]) == 2
    assert await shard.dump() == before


async def test_an_earlier_batch_sent_again_changes_nothing(shard, claim):
    await shard.scripts.emit(claim, 1, [b"x"])
    await shard.scripts.emit(claim, 2, [b"y", b"z"])
    before = await shard.dump()

    assert await shard.scripts.emit(claim, 1, [b"x"]) == 3
    assert await shard.dump() == before


@pytest.mark.parametrize(
    ("first", "events"), [(3, [b"x"]), (9, [b"x", b"y"]), (1, [b"x", b"y"]), (0, [b"x", b"y", b"z"])]
)
async def test_a_batch_that_does_not_follow_is_refused_whole(shard, claim, first, events):
    await shard.scripts.emit(claim, 1, [b"x"])
    before = await shard.dump()

    with pytest.raises(EventGap) as caught:
        await shard.scripts.emit(claim, first, events)

    assert (caught.value.session_id, caught.value.expected, caught.value.last) == ("s", first, 1)
    assert await shard.dump() == before


@pytest.mark.parametrize("wrong", [{"token": "another"}, {"token": ""}, {"epoch": 0}, {"epoch": 2}])
async def test_a_stale_owner_writes_nothing(shard, claim, wrong):
    before = await shard.dump()

    with pytest.raises(Fenced) as caught:
        await shard.scripts.emit(replace(claim, **wrong), 1, [b"x"])

    assert (caught.value.session_id, caught.value.epoch) == ("s", 1)
    assert await shard.dump() == before


async def test_an_owner_that_has_released_writes_nothing(shard, claim):
    await shard.scripts.release(claim, "w1")
    before = await shard.dump()

    with pytest.raises(Fenced):
        await shard.scripts.emit(claim, 1, [b"x"])
    assert await shard.dump() == before


async def test_a_stale_owner_is_fenced_even_for_events_that_exist(shard, claim):
    await shard.scripts.emit(claim, 1, [b"x"])
    await shard.kill("w1")
    await shard.claim("w2")

    with pytest.raises(Fenced):
        await shard.scripts.emit(claim, 1, [b"x"])


async def test_the_next_owner_continues_where_the_last_one_ended(shard, claim):
    await shard.scripts.emit(claim, 1, [b"x"])
    await shard.kill("w1")
    new = await shard.claim("w2")

    assert new.last_event == 1
    assert await shard.scripts.emit(new, 2, [b"y"]) == 2


async def test_an_unknown_session_has_no_owner(shard, claim):
    before = await shard.dump()

    with pytest.raises(Fenced) as caught:
        await shard.scripts.emit(replace(claim, session_id="other"), 1, [b"x"])

    assert (caught.value.session_id, caught.value.epoch) == ("other", 0)
    assert await shard.dump() == before


async def test_events_after_a_commit_go_on_from_it(shard, claim):
    await shard.commit(claim, CellCommit("a", 1, (b"x", b"y")))

    assert await shard.scripts.emit(claim, 3, [b"z"]) == 3
