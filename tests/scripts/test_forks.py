"""Forks read their origins' chunks: what they need is pinned there, and is gone with the last of them."""

import pytest

from skep_shared.broker.origins import Origin
from skep_shared.broker.script_replies import CellCommit, ForkSource, ForkStatus, NameStatus, SubmitStatus
from skep_shared.checkpoints.checkpoint_ids import NO_CHECKPOINT, CheckpointId

from .conftest import Shard

pytestmark = pytest.mark.anyio


async def source(shard, sid="s", seq=1):
    return ForkSource(sid, int((await shard.session(sid))["created_at"]), CheckpointId(seq))


async def fork(shard, *new_ids, sid="s", seq=1, request="t"):
    return await shard.scripts.fork(await source(shard, sid, seq), new_ids, b"m", f"{request} {new_ids}")


async def pins(shard, sid="s"):
    return {new.decode(): int(seq) for new, seq in (await shard.redis.hgetall(shard.keys.pins(sid))).items()}


async def test_a_fork_begins_after_the_checkpoint_and_copies_no_chunk(shard: Shard):
    await shard.save("a", "b")
    born = int((await shard.session())["created_at"])

    assert await fork(shard, "f", seq=1) == (ForkStatus.OK, [])
    new = await shard.session("f")
    assert [new[name] for name in ("state", "seq", "cursor", "last", "head", "saved", "options")] == [
        "open", "1", "1", "0", "1", "1", "options",
    ]  # fmt: skip
    assert await shard.redis.xrange(shard.keys.checkpoints("f")) == [(b"1-0", {b"m": b"m"})]
    assert not await shard.redis.exists(shard.keys.blobs("f"))
    assert await pins(shard) == {"f": 1}
    claim = await shard.claim(sid="f")
    assert (claim.head, claim.cursor, claim.origins) == (CheckpointId(1), 1, (Origin("s", CheckpointId(1), born),))
    assert claim.created_at == int(new["created_at"])


async def test_a_fork_of_a_fork_pins_all_the_way_back(shard: Shard):
    await shard.save("a", "b")
    await fork(shard, "f", seq=1)
    await shard.save("c", sid="f")
    await fork(shard, "g", sid="f", seq=2)

    assert await pins(shard) == {"f": 1, "g": 1}
    assert await pins(shard, "f") == {"g": 2}
    assert [(o.session_id, o.checkpoint.seq) for o in (await shard.claim(sid="g")).origins] == [("f", 2), ("s", 1)]


async def test_pinned_checkpoints_are_not_pruned(shard: Shard):
    claim = await shard.save("a", "b", "c")
    await fork(shard, "f", seq=1)

    assert not (await shard.scripts.prune(claim, [CheckpointId(1)], [b"a"])).is_done
    assert (await shard.scripts.prune(claim, [CheckpointId(2)], [b"b"])).is_done


async def test_many_are_made_at_once_or_none(shard: Shard):
    await shard.save("a")
    await shard.save("a", sid="f2")
    await shard.save("a", sid="f4")
    before = await shard.dump()

    assert await fork(shard, "f1", "f2", "f3", "f4") == (ForkStatus.EXISTS, ["f2", "f4"])
    assert await shard.dump() == before
    assert await fork(shard, "f1", "f3") == (ForkStatus.OK, [])
    assert await pins(shard) == {"f1": 1, "f3": 1}


@pytest.mark.parametrize("what", ["seq", "session", "incarnation"])
async def test_a_checkpoint_that_is_not_there_makes_no_fork(shard: Shard, what):
    await shard.save("a")
    asked = await source(shard, seq=2 if what == "seq" else 1)
    if what == "session":
        asked = ForkSource("other", asked.created_at, CheckpointId(1))
    elif what == "incarnation":
        asked = ForkSource("s", asked.created_at - 1, CheckpointId(1))
    before = await shard.dump()

    assert await shard.scripts.fork(asked, ["f"], b"m", "t") == (ForkStatus.MISSING, [])
    assert await shard.dump() == before


async def test_a_resent_fork_changes_nothing(shard: Shard):
    await shard.save("a")
    await fork(shard, "f", "g")
    before = await shard.dump()

    assert await fork(shard, "f", "g") == (ForkStatus.OK, [])
    assert await shard.dump() == before
    assert await fork(shard, "f", request="another") == (ForkStatus.EXISTS, ["f"])


async def test_purging_a_fork_removes_its_pins(shard: Shard):
    await shard.save("a")
    await fork(shard, "f")
    await shard.end(await shard.claim(sid="f"))

    assert await pins(shard) == {}
    assert await shard.kept() == (["1-0"], {b"shared", b"a"})


async def test_a_purged_session_retains_its_id_and_the_data_that_its_forks_read(shard: Shard):
    claim = await shard.save("a", "b")
    await fork(shard, "f", seq=1)
    assert await shard.end(claim)

    assert await shard.kept() == (["1-0", "2-0"], {b"shared", b"a", b"b"})
    names = {key.decode() async for key in shard.redis.scan_iter(f"{shard.keys.session('s')}*")}
    k = shard.keys
    assert names == {k.session("s"), k.checkpoints("s"), k.blobs("s"), k.pins("s")}
    assert not await shard.redis.zscore(k.sessions, "s")
    assert (await shard.submit("c")).status is SubmitStatus.CLOSED
    assert await fork(shard, "g", seq=1) == (ForkStatus.MISSING, [])
    assert await shard.scripts.name("s", CheckpointId(1), "late") == (NameStatus.UNKNOWN, NO_CHECKPOINT)
    assert await shard.scripts.purge("s")
    assert await shard.kept() == (["1-0", "2-0"], {b"shared", b"a", b"b"})


@pytest.mark.parametrize("order", ["sfg", "gfs", "fgs", "fsg", "gsf", "sgf"])
async def test_after_all_are_purged_in_any_order_no_key_is_left(shard: Shard, order):
    claims = {"s": await shard.save("a")}
    await fork(shard, "f")
    claims["f"] = await shard.save("b", sid="f")
    await fork(shard, "g", sid="f", seq=2)
    claims["g"] = await shard.save("c", sid="g")
    for sid in order:
        assert await shard.end(claims[sid])
    await shard.scripts.leave("w1")
    await shard.drop_activations()

    assert await shard.dump() == {}


async def test_a_purged_session_is_listed_for_the_removal_of_its_chunks_from_the_store(shard: Shard):
    await shard.submit("a")
    await shard.join()
    claim = await shard.scripts.claim("s", "w1", "t", has_store=True)
    await shard.commit(claim, CellCommit("a", 1, (b"e",), manifest=b"m"))
    await fork(shard, "f")
    await shard.end(claim)
    assert not await shard.redis.exists(shard.keys.purged)  # the fork still reads it

    await shard.end(await shard.claim(sid="f"))
    assert await shard.redis.smembers(shard.keys.purged) == {f"s:{claim.created_at}".encode()}


async def test_the_last_state_of_a_process_is_a_checkpoint_like_any_other(shard: Shard):
    claim, left = await shard.save("a", "b"), CheckpointId(2, 1)
    await shard.scripts.save(claim, left, b"left", kind="last")
    born = int((await shard.session())["created_at"])

    assert await shard.scripts.fork(ForkSource("s", born, left), ["f"], b"m", "t") == (ForkStatus.OK, [])
    assert await shard.scripts.name("s", left, "good") == (NameStatus.OK, NO_CHECKPOINT)
    assert await shard.scripts.rehead(claim, 2, CheckpointId(1)) == left
    assert await shard.scripts.rehead(claim, 2, left) == CheckpointId(1)
    assert await shard.scripts.rehead(claim, 2, CheckpointId(1)) == left
    assert not (await shard.scripts.prune(claim, [left], [])).is_done
    assert (await shard.scripts.prune(claim, [CheckpointId(2)], [])).protected == {left}

    fork_claim = await shard.claim(sid="f")
    assert (fork_claim.head, fork_claim.cursor) == (left, 2)
    assert fork_claim.origins == (Origin("s", left, born),)
    assert await shard.redis.xrange(shard.keys.checkpoints("f")) == [(b"2-1", {b"m": b"m"})]
    await shard.save("c", sid="f")
    await fork(shard, "g", sid="f", seq=3)
    assert (await shard.redis.hgetall(shard.keys.pins("s"))) == {b"f": b"2-1", b"g": b"2-1"}
    assert [key for sid in ("f", "g") if await shard.end(await shard.claim(sid=sid)) for key in [sid]] == ["f", "g"]
    assert not await shard.redis.exists(shard.keys.pins("s"))
