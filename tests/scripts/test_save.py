"""save.lua: a checkpoint apart from a commit, for sessions whose outcomes don't wait for it."""

import pytest

from skep_shared.broker.script_replies import NONE_MADE, CellCommit
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.errors import EventGap, Fenced

pytestmark = pytest.mark.anyio


@pytest.fixture
async def claim(shard):
    """Three committed cells without any checkpoint."""
    await shard.submit("a", "b", "c")
    claim = await shard.claim("w1")
    await shard.commit(claim, CellCommit("a", 1, (b"e",)), CellCommit("b", 2, (b"e",)), CellCommit("c", 3, (b"e",)))
    return claim


async def test_it_writes_manifest_and_chunks_and_moves_the_head(shard, claim):
    assert await shard.scripts.save(claim, CheckpointId(2), b"manifest", [(b"name", b"data")]) == 2

    keys = shard.scripts.keys
    assert await shard.redis.xrange(keys.checkpoints("s")) == [(b"2-0", {b"m": b"manifest"})]
    assert await shard.redis.hgetall(keys.blobs("s")) == {b"name": b"data"}
    session = await shard.session()
    assert (session["head"], session["saved"]) == ("2", "2")


async def test_a_state_that_has_not_changed_moves_only_what_is_saved(shard, claim):
    await shard.scripts.save(claim, CheckpointId(1), b"manifest")
    await shard.scripts.save(claim, CheckpointId(3), b"")

    session = await shard.session()
    assert (session["head"], session["saved"]) == ("1", "3")


async def test_it_names_no_chunk_that_redis_has_lost(shard, claim):
    before = await shard.dump()

    with pytest.raises(EventGap):
        await shard.scripts.save(claim, CheckpointId(2), b"manifest", [(b"stored before", b"")])
    assert await shard.dump() == before


async def test_sent_again_or_late_it_changes_nothing(shard, claim):
    await shard.scripts.save(claim, CheckpointId(2), b"manifest", [(b"name", b"data")])
    before = await shard.dump()

    assert await shard.scripts.save(claim, CheckpointId(2), b"manifest", [(b"name", b"data")]) == 2
    assert await shard.scripts.save(claim, CheckpointId(1), b"older") == 2
    assert await shard.dump() == before


async def test_a_cell_without_effect_is_saved_if_the_one_before_is(shard, claim):
    assert await shard.scripts.save(claim, CheckpointId(2), b"", kind="void") == 0
    await shard.scripts.save(claim, CheckpointId(1), b"manifest")

    assert await shard.scripts.save(claim, CheckpointId(2), b"", kind="void") == 2


async def test_a_stale_owner_and_a_cell_that_has_not_committed_are_refused(shard, claim):
    before = await shard.dump()
    with pytest.raises(EventGap):
        await shard.scripts.save(claim, CheckpointId(4), b"manifest")
    assert await shard.dump() == before

    await shard.kill("w1")
    await shard.claim("w2")
    before = await shard.dump()
    with pytest.raises(Fenced):
        await shard.scripts.save(claim, CheckpointId(2), b"manifest")
    assert await shard.dump() == before


async def test_the_last_state_of_a_process_follows_the_checkpoint_of_its_cell(shard, claim):
    await shard.scripts.save(claim, CheckpointId(3), b"of the cell")
    left = CheckpointId(3, 1)

    assert await shard.scripts.save(claim, left, b"left", [(b"name", b"data")], kind="last") == 3
    before = await shard.dump()
    assert await shard.scripts.save(claim, left, b"left", [(b"name", b"data")], kind="last") == 3
    assert await shard.dump() == before

    entries = await shard.redis.xrange(shard.keys.checkpoints("s"))
    assert entries == [(b"3-0", {b"m": b"of the cell"}), (b"3-1", {b"m": b"left"})]
    session = await shard.session()
    assert (session["head"], session["saved"]) == ("3-1", "3")
    await shard.kill("w1")
    assert (await shard.claim("w2")).head == left


async def test_the_last_state_of_a_process_is_saved_though_its_cell_changed_nothing(shard, claim):
    await shard.scripts.save(claim, CheckpointId(1), b"manifest")
    await shard.scripts.save(claim, CheckpointId(3), b"")

    assert await shard.scripts.save(claim, CheckpointId(3), b"left", kind="last") == 3
    assert (await shard.session())["head"] == "3"


@pytest.mark.parametrize(
    ("checkpoint", "kind", "unsaved"),
    [
        (CheckpointId(1), "", "2"),
        (CheckpointId(2), "", "3"),
        (CheckpointId(3), "", None),
        (CheckpointId(2, 1), "last", None),
    ],
)
async def test_cells_after_a_checkpoint_that_is_saved_late_remain_unsaved(shard, checkpoint, kind, unsaved):
    """A session that was restored from it did not report that the effects of later cells were lost."""
    await shard.submit("a", "b", "c")
    claim = await shard.claim("w1")
    cells = [CellCommit(name, number, (b"e",), manifest=NONE_MADE) for number, name in ((1, "a"), (2, "b"), (3, "c"))]
    await shard.commit(claim, *cells)
    assert (await shard.session())["unsaved"] == "1"

    await shard.scripts.save(claim, checkpoint, b"manifest", kind=kind)
    assert (await shard.session()).get("unsaved") == unsaved
