"""The scripts outlive the server's script cache, which a restart or SCRIPT FLUSH empties."""

import pytest

from skep_shared.broker.mailbox_entries import UpdateSession
from skep_shared.broker.script_replies import (
    CellCommit,
    Closed,
    Controlled,
    ControlStatus,
    ForkSource,
    ForkStatus,
    Mark,
    NameStatus,
    Placed,
    Pruned,
    Recovered,
    Shard,
    UpdateStatus,
)
from skep_shared.broker.scripts import Scripts
from skep_shared.checkpoints.checkpoint_ids import NO_CHECKPOINT, CheckpointId

pytestmark = pytest.mark.anyio


@pytest.fixture
def flushing(own_shard, flush_before):
    """The shard on its own server, whose script cache is empty before each call of a script."""
    own_shard.called = flush_before(own_shard.scripts)
    return own_shard


async def test_a_session_lives_its_whole_life_on_an_empty_script_cache(flushing):
    shard, scripts = flushing, flushing.scripts
    record = Shard("id", "/somewhere", 1)
    assert await scripts.join_shard("w1", record, is_directory_chosen=False) == record
    assert (await scripts.open("other", b"")).is_new
    assert await scripts.defer("job", b"job", by_ms=0)
    await scripts.activate(["s"])
    assert await scripts.update("other", b"", b"\x80", UpdateSession("other", None)) is UpdateStatus.OK
    assert (await shard.submit("a", "b")).cells == (Placed(1), Placed(2))
    assert (await scripts.watch("s", "b", client_id="c1")).cell == Placed(2)
    await shard.claim("w1")
    await shard.kill("w1")
    assert await scripts.recover(silence_ms=0, page=10, patience_ms=0) == Recovered(1, ("s",))
    claim = await shard.claim("w2")
    assert await scripts.begin(claim, 1) == 1
    assert await scripts.emit(claim, 1, [b"a1"]) == 1
    assert await scripts.control("s", "interrupt") == Controlled(ControlStatus.OK)
    assert await shard.commit(claim, CellCommit("a", 1, ()), CellCommit("b", 2, (b"b1",)), first=2) == 2
    assert len(await shard.replies("c1")) == 1
    await scripts.answer("c1", "o1", 0, b"answer", 60_000)
    assert await scripts.prune(claim, [CheckpointId(1)], [b"nothing"]) == Pruned(True, 0, frozenset())
    assert await scripts.save(claim, CheckpointId(2), b"m") == 2
    assert await scripts.rehead(claim, 2, CheckpointId(7)) is None
    assert await scripts.confirm(claim) == 2
    assert not await scripts.reopen(claim)
    assert await scripts.compare({"s": Mark(2, 2, 2, claim.token)}) == {}
    assert await scripts.name("s", CheckpointId(1), "first") == (NameStatus.UNKNOWN, NO_CHECKPOINT)
    assert await scripts.fork(ForkSource("s", 0, CheckpointId(1)), ["t"], b"m", "token") == (ForkStatus.MISSING, [])
    assert await scripts.release(claim, "w2") == 0
    assert await scripts.close("s") == Closed("CLOSED", 3)
    assert await scripts.purge("s")
    assert await scripts.leave("w2") == 0

    assert shard.called == set(Scripts.sources)


async def test_a_script_is_kept_by_the_server_after_its_first_call(own_shard):
    await own_shard.redis.script_flush()
    await own_shard.submit("a")

    assert (await own_shard.redis.info("memory"))["number_of_cached_scripts"] == 1


async def test_a_call_after_a_flush_writes_once(own_shard):
    await own_shard.submit("a")
    await own_shard.redis.script_flush()

    await own_shard.submit("b")

    assert await own_shard.pending() == [("1-0", "a"), ("2-0", "b")]
