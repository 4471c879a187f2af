"""trim.lua, forget.lua and expire.lua: what grows with a session's age goes, and nothing that is still needed."""

import pytest

from skep_shared.broker.retention_scripts import ExpiryStatus, RetentionScripts, StoredFacts, Trimmed
from skep_shared.broker.script_replies import CellCommit, ForkSource, SubmitStatus
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.errors import EventGap
from skep_shared.event_codec import unpack_event
from skep_shared.events import SessionClosedEvent
from skep_shared.models import SessionOptions

pytestmark = pytest.mark.anyio

DAY_MS = 86_400_000


@pytest.fixture
def retention(shard):
    return RetentionScripts(shard.redis, shard.keys)


@pytest.fixture
async def claim(shard):
    """The claim of w1 on a session with three done cells of three events each, and a pending one."""
    await shard.submit("a", "b", "c", "d")
    claim = await shard.claim("w1")
    for number, cell in enumerate("abc"):
        first = 3 * number + 1
        events = tuple(f"{cell}{n}".encode() for n in range(3))
        await shard.commit(claim, CellCommit(cell, first, events), cursor=number, first=first)
    return claim


async def idle_for(shard, ms, sid="s"):
    """Let the session have been used that long ago."""
    seconds, micros = await shard.redis.time()
    await shard.redis.hset(shard.keys.session(sid), "active_at", seconds * 1000 + micros // 1000 - ms)


async def test_a_page_of_sessions_is_read_in_one_command(shard, retention, claim):
    await shard.scripts.open("other", SessionOptions(expires_in=2.5, labels={"expires_in": "3"}).pack())
    await shard.submit("z", sid="other")

    assert await retention.facts(["s", "gone", "other"], ["seq", "cursor", "nothing"]) == [
        StoredFacts({"seq": b"4", "cursor": b"3", "nothing": None}, 4, b""),
        StoredFacts({"seq": None, "cursor": None, "nothing": None}, 0, b""),
        StoredFacts({"seq": b"1", "cursor": b"0", "nothing": None}, 1, b"2.5"),
    ]
    assert await retention.facts([], ["seq"]) == []


async def test_events_before_the_wanted_one_are_removed_and_the_floor_records_it(shard, retention, claim):
    assert await retention.trim("s", 4, page=100) == Trimmed(4, has_more=False)
    assert [event_id for event_id, _ in await shard.events()] == [f"{n}-0" for n in range(4, 10)]
    assert (await shard.session())["floor"] == "4"


async def test_a_page_at_a_time_is_trimmed(shard, retention, claim):
    assert await retention.trim("s", 6, page=2) == Trimmed(3, has_more=True)
    assert await retention.trim("s", 6, page=2) == Trimmed(5, has_more=True)
    assert await retention.trim("s", 6, page=2) == Trimmed(6, has_more=False)
    assert (await shard.events())[0] == ("6-0", b"b2")


async def test_the_last_committed_cell_keeps_its_events(shard, retention, claim):
    assert await retention.trim("s", 1_000, page=100) == Trimmed(7, has_more=False)
    assert [packed for _, packed in await shard.events()] == [b"c0", b"c1", b"c2"]


async def test_a_cell_that_has_not_committed_keeps_its_events(shard, retention, claim):
    await shard.scripts.emit(claim, 10, [b"d0", b"d1"])

    await retention.trim("s", 1_000, page=100)

    assert [packed for _, packed in await shard.events()] == [b"c0", b"c1", b"c2", b"d0", b"d1"]


async def test_a_session_whose_first_cell_runs_is_not_trimmed(shard, retention):
    await shard.submit("a")
    claim = await shard.claim("w1")
    await shard.scripts.emit(claim, 1, [b"a0", b"a1"])

    assert await retention.trim("s", 1_000, page=100) == Trimmed(1, has_more=False)
    assert len(await shard.events()) == 2


async def test_a_group_commit_ends_with_the_cell_whose_events_stay(shard, retention):
    await shard.submit("a", "b")
    claim = await shard.claim("w1")
    await shard.commit(claim, CellCommit("a", 1, (b"a0",)), CellCommit("b", 2, (b"b0",)))

    assert await retention.trim("s", 1_000, page=100) == Trimmed(2, has_more=False)


async def test_the_floor_never_decreases(shard, retention, claim):
    await retention.trim("s", 6, page=100)
    before = await shard.dump()

    assert await retention.trim("s", 2, page=100) == Trimmed(6, has_more=False)
    assert await shard.dump() == before


async def test_the_next_event_has_the_next_number_after_a_trim(shard, retention, claim):
    await retention.trim("s", 1_000, page=100)

    assert await shard.scripts.emit(claim, 10, [b"d0"]) == 10
    with pytest.raises(EventGap):
        await shard.scripts.emit(claim, 12, [b"d2"])


async def test_nothing_is_made_of_an_unknown_session(shard, retention):
    assert await retention.trim("s", 5, page=10) is None
    assert await retention.forget("s", [b"a"], keep=1) == 0
    assert await retention.expire("s", idle_ms=0) is ExpiryStatus.UNKNOWN
    assert await shard.dump() == {}


async def test_the_oldest_done_cells_are_forgotten(shard, retention, claim):
    assert await retention.forget("s", [b"a", b"b", b"c", b"d"], keep=1) == 2
    assert list(await shard.ids()) == ["c", "d"]


async def test_an_id_that_is_gone_already_is_passed_over(shard, retention, claim):
    await retention.forget("s", [b"a"], keep=2)

    assert await retention.forget("s", [b"a", b"zz"], keep=2) == 0


async def test_a_pending_cell_is_never_forgotten(shard, retention):
    await shard.submit("a", "b", "c")

    assert await retention.forget("s", [b"a", b"b", b"c"], keep=1) == 0


async def test_a_forgotten_id_is_a_new_cell(shard, retention, claim):
    await retention.forget("s", [b"a"], keep=1)

    [placed] = (await shard.submit("a")).cells
    assert (placed.seq, placed.final_event) == (5, None)


@pytest.fixture
async def idle(shard):
    """A session whose one cell is done, which nobody owns, and which was last used two days ago."""
    await shard.submit("a")
    claim = await shard.claim("w1")
    await shard.commit(claim, CellCommit("a", 1, (b"e",)))
    await shard.scripts.release(claim, "w1")
    await idle_for(shard, 2 * DAY_MS)
    return claim


async def test_an_idle_session_is_closed_and_can_be_purged(shard, retention, idle):
    assert await retention.expire("s", idle_ms=DAY_MS) is ExpiryStatus.CLOSED

    event_id, packed = (await shard.events())[-1]
    event = unpack_event("s", event_id, packed)
    assert (type(event), event.id, event.epoch) == (SessionClosedEvent, "2-0", 2)
    assert await shard.scripts.purge("s")
    assert [key for key in await shard.dump() if ":session:" in key or key.endswith(":sessions")] == []


async def test_expiring_twice_writes_once(shard, retention, idle):
    await retention.expire("s", idle_ms=DAY_MS)
    before = await shard.dump()

    assert await retention.expire("s", idle_ms=DAY_MS) is ExpiryStatus.CLOSED
    assert await shard.dump() == before


async def test_a_session_that_was_used_lately_is_kept(shard, retention, idle):
    before = await shard.dump()

    assert await retention.expire("s", idle_ms=3 * DAY_MS) is ExpiryStatus.KEPT
    assert await shard.dump() == before


async def test_an_earlier_submit_prevents_the_expiry(shard, retention, idle):
    await shard.submit("b")

    assert await retention.expire("s", idle_ms=DAY_MS) is ExpiryStatus.KEPT


async def test_a_pending_cell_keeps_the_session_however_long_it_waits(shard, retention, idle):
    await shard.submit("b")
    await idle_for(shard, 2 * DAY_MS)

    assert await retention.expire("s", idle_ms=DAY_MS) is ExpiryStatus.KEPT


async def test_a_later_submit_is_refused_and_one_after_the_purge_creates_a_new_session(shard, retention, idle):
    await retention.expire("s", idle_ms=DAY_MS)
    assert (await shard.submit("b")).status is SubmitStatus.CLOSED
    await shard.scripts.purge("s")

    [placed] = (await shard.submit("b")).cells
    assert placed.seq == 1


async def test_a_session_that_a_live_worker_owns_is_kept(shard, retention, idle):
    await shard.claim("w2")

    assert await retention.expire("s", idle_ms=DAY_MS) is ExpiryStatus.KEPT


async def test_a_session_of_a_dead_worker_is_closed_under_a_new_epoch(shard, retention, idle):
    claim = await shard.claim("w2")
    await shard.kill("w2")

    assert await retention.expire("s", idle_ms=DAY_MS) is ExpiryStatus.CLOSED
    assert int((await shard.session())["epoch"]) == claim.epoch + 1
    assert await shard.owned("w2") == set()


async def test_a_session_closed_by_its_user_is_not_the_retentions(shard, retention, idle):
    await shard.scripts.close("s")
    before = await shard.dump()

    assert await retention.expire("s", idle_ms=DAY_MS) is ExpiryStatus.KEPT
    assert await shard.dump() == before


async def test_a_fork_that_was_never_used_expires_too(shard, retention):
    claim = await shard.save("a")
    source = ForkSource("s", int((await shard.session())["created_at"]), CheckpointId(claim.cursor + 1))
    await shard.scripts.fork(source, ["f"], b"m", "token")
    await idle_for(shard, 2 * DAY_MS, "f")

    assert await retention.trim("f", 100, page=10) == Trimmed(1, has_more=False)
    assert await retention.expire("f", idle_ms=DAY_MS) is ExpiryStatus.CLOSED
    assert await shard.scripts.purge("f")
    assert await shard.redis.exists(shard.keys.pins("s")) == 0


async def test_an_entry_of_the_index_without_a_session_is_removed(shard, retention):
    await shard.redis.zadd(shard.keys.sessions, {"s": 1})

    assert await retention.expire("s", idle_ms=DAY_MS) is ExpiryStatus.UNKNOWN
    assert await shard.dump() == {}


async def test_a_full_server_is_made_room_on(own_shard):
    retention = RetentionScripts(own_shard.redis, own_shard.keys)
    await own_shard.submit("a", "b")
    claim = await own_shard.claim("w1")
    await own_shard.commit(claim, CellCommit("a", 1, (b"a0",)), CellCommit("b", 2, (b"b0",)))
    await own_shard.scripts.release(claim, "w1")
    await idle_for(own_shard, 2 * DAY_MS)
    await own_shard.redis.config_set("maxmemory", 1)

    assert await retention.trim("s", 2, page=10) == Trimmed(2, has_more=False)
    assert await retention.forget("s", [b"a"], keep=1) == 1
    assert await retention.expire("s", idle_ms=DAY_MS) is ExpiryStatus.CLOSED
    assert await own_shard.scripts.purge("s")


async def test_these_scripts_outlive_the_servers_script_cache(own_shard, flush_before):
    retention = RetentionScripts(own_shard.redis, own_shard.keys)
    called = flush_before(retention)
    await own_shard.submit("a")
    await retention.facts(["s"], ["seq"])
    await retention.trim("s", 1, page=1)
    await retention.forget("s", [b"a"], keep=1)
    await retention.expire("s", idle_ms=0)

    assert called == set(RetentionScripts.sources)
