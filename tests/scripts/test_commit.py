"""commit.lua: consecutive cells become done, with their events and cursor, in one step and once."""

from dataclasses import replace

import pytest

from skep_shared.broker.script_replies import HOLDS_AGAIN, NONE_MADE, CellCommit
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.errors import EventGap, Fenced

pytestmark = pytest.mark.anyio

A = CellCommit("a", 1, (b"a1", b"a2"))
B = CellCommit("b", 3, (b"b1",))
C = CellCommit("c", 4, (b"c1",))


@pytest.fixture
async def claim(shard):
    await shard.submit("a", "b", "c")
    return await shard.claim("w1")


async def test_a_commit_writes_the_events_and_the_cursor(shard, claim):
    assert await shard.commit(claim, A) == 2

    session = await shard.session()
    assert (session["cursor"], session["last"]) == ("1", "2")
    assert await shard.events() == [("1-0", b"a1"), ("2-0", b"a2")]


async def test_a_committed_cell_is_known_with_its_events_and_pending_no_more(shard, claim):
    await shard.commit(claim, A)

    assert await shard.ids() == {"a": "d:1:1:2", "b": "p:2:", "c": "p:3:"}
    assert await shard.pending() == [("2-0", "b"), ("3-0", "c")]


async def test_events_that_were_sent_ahead_count_as_the_cells(shard, claim):
    await shard.scripts.emit(claim, 1, [b"a1"])

    assert await shard.commit(claim, CellCommit("a", 1, (b"a2",)), first=2) == 2
    assert (await shard.ids())["a"] == "d:1:1:2"


async def test_several_cells_are_committed_in_one_call(shard, claim):
    assert await shard.commit(claim, A, B, C) == 4

    assert await shard.ids() == {"a": "d:1:1:2", "b": "d:2:3:3", "c": "d:3:4:4"}
    assert await shard.pending() == []
    assert [event for _, event in await shard.events()] == [b"a1", b"a2", b"b1", b"c1"]
    assert (await shard.session())["cursor"] == "3"


async def test_commits_follow_each_other(shard, claim):
    await shard.commit(claim, A)

    assert await shard.commit(claim, B, C, cursor=1, first=3) == 4
    assert (await shard.session())["cursor"] == "3"


async def test_a_cell_without_new_events_is_committed(shard, claim):
    await shard.scripts.emit(claim, 1, [b"a1", b"a2"])

    assert await shard.commit(claim, CellCommit("a", 1, ()), first=3) == 2
    assert (await shard.ids())["a"] == "d:1:1:2"


async def test_a_thousand_events_go_in_one_commit(shard, claim):
    events = tuple(b"%d" % n for n in range(1000))

    assert await shard.commit(claim, CellCommit("a", 1, events)) == 1000


async def test_a_commit_forgets_the_losses(shard, claim):
    await shard.kill("w1")
    new = await shard.claim("w2")
    assert new.losses == 1

    await shard.commit(new, A)

    assert (await shard.session())["losses"] == "0"


async def test_a_resent_commit_changes_nothing(shard, claim):
    await shard.submit("a", client="c1")
    await shard.commit(claim, A, B)
    before = await shard.dump()

    assert await shard.commit(claim, A, B) == 3
    assert await shard.dump() == before


async def test_a_part_of_a_group_sent_again_changes_nothing(shard, claim):
    await shard.commit(claim, A, B)
    before = await shard.dump()

    assert await shard.commit(claim, A) == 3
    assert await shard.dump() == before


async def test_an_old_commit_that_arrives_late_changes_nothing(shard, claim):
    await shard.commit(claim, A)
    await shard.commit(claim, B, cursor=1, first=3)
    before = await shard.dump()

    assert await shard.commit(claim, A) == 3
    assert await shard.dump() == before


@pytest.mark.parametrize(
    ("cells", "cursor", "first"),
    [
        ((B,), 1, 3),
        ((A,), 0, 2),
        ((C,), 2, 1),
        ((A, B, C, CellCommit("d", 5, (b"d1",))), 0, 1),
    ],
    ids=["cell before is missing", "event before is missing", "only the events follow", "more than was submitted"],
)
async def test_a_commit_that_does_not_follow_changes_nothing(shard, claim, cells, cursor, first):
    before = await shard.dump()

    with pytest.raises(EventGap) as caught:
        await shard.commit(claim, *cells, cursor=cursor, first=first)

    assert (caught.value.session_id, caught.value.expected, caught.value.last) == ("s", first, 0)
    assert await shard.dump() == before


@pytest.mark.parametrize(
    ("cells", "cursor", "first"),
    [((A, B), 0, 1), ((B,), 1, 2), ((B,), 1, 4), ((B,), 0, 3), ((CellCommit("a", 1, (b"a1", b"a2", b"a3")),), 0, 1)],
    ids=["half is done", "events overlap", "events are missing", "cursor is behind", "more events than before"],
)
async def test_a_commit_that_overlaps_another_changes_nothing(shard, claim, cells, cursor, first):
    await shard.commit(claim, A)
    before = await shard.dump()

    with pytest.raises(EventGap):
        await shard.commit(claim, *cells, cursor=cursor, first=first)
    assert await shard.dump() == before


@pytest.mark.parametrize("wrong", [{"token": "another"}, {"token": ""}, {"epoch": 0}, {"epoch": 2}])
async def test_a_stale_owner_commits_nothing(shard, claim, wrong):
    before = await shard.dump()

    with pytest.raises(Fenced) as caught:
        await shard.commit(replace(claim, **wrong), A)

    assert (caught.value.session_id, caught.value.epoch) == ("s", 1)
    assert await shard.dump() == before


async def test_an_owner_that_lost_its_session_commits_nothing(shard, claim):
    await shard.kill("w1")
    await shard.claim("w2")
    before = await shard.dump()

    with pytest.raises(Fenced) as caught:
        await shard.commit(claim, A)

    assert caught.value.epoch == 2
    assert await shard.dump() == before


async def test_an_owner_that_has_released_commits_nothing(shard, claim):
    await shard.scripts.release(claim, "w1")
    before = await shard.dump()

    with pytest.raises(Fenced):
        await shard.commit(claim, A)
    assert await shard.dump() == before


async def test_an_unknown_session_accepts_no_commit(shard, claim):
    before = await shard.dump()

    with pytest.raises(Fenced) as caught:
        await shard.commit(replace(claim, session_id="other"), A)

    assert caught.value.epoch == 0
    assert await shard.dump() == before


async def test_a_closing_session_still_accepts_commits(shard, claim):
    await shard.scripts.close("s")

    assert await shard.commit(claim, A) == 2


async def test_the_next_owner_commits_what_the_last_one_could_not(shard, claim):
    await shard.commit(claim, A)
    await shard.kill("w1")
    new = await shard.claim("w2")

    assert (new.cursor, new.last_event) == (1, 2)
    assert await shard.commit(new, B, cursor=1, first=3) == 3


@pytest.mark.parametrize("names", [("lost",), ("a", "lost"), ("b", "a")])
async def test_a_cell_that_is_not_the_pending_one_of_its_number_is_refused(shard, names):
    """Redis may have gone back and lost a cell that its owner had heard of; another one has its number now."""
    await shard.submit("a", "b")
    claim = await shard.claim()
    before = await shard.dump()

    with pytest.raises(EventGap):
        await shard.commit(claim, *(CellCommit(name, number, (b"e",)) for number, name in enumerate(names, start=1)))
    assert await shard.dump() == before


async def test_the_first_cell_of_which_no_checkpoint_has_the_effects_is_on_record_until_one_has(shard, claim):
    await shard.commit(claim, A, replace(B, manifest=NONE_MADE))
    assert (await shard.session())["unsaved"] == "2"

    await shard.commit(claim, replace(C, manifest=NONE_MADE), cursor=2, first=4)
    assert (await shard.session())["unsaved"] == "2"
    assert (await shard.kept())[0] == []


@pytest.mark.parametrize("manifest", [b"m-b", HOLDS_AGAIN])
async def test_it_is_off_the_record_when_a_checkpoint_holds(shard, claim, manifest):
    await shard.commit(claim, replace(A, manifest=NONE_MADE))
    await shard.commit(claim, replace(B, manifest=manifest), cursor=1, first=3)

    assert "unsaved" not in await shard.session()


async def test_it_is_off_the_record_when_a_checkpoint_comes_later_by_itself(shard, claim):
    await shard.commit(claim, A, replace(B, manifest=NONE_MADE))
    await shard.scripts.save(claim, CheckpointId(2), b"m-b")

    assert "unsaved" not in await shard.session()
    assert (await shard.session())["head"] == "2"
