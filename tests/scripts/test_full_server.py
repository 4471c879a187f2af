"""A Redis at its maxmemory: new cells are refused, everything that ends and frees still goes through."""

from dataclasses import dataclass
from typing import Any

import pytest
from redis.exceptions import ResponseError

from skep_shared.broker.mailbox_entries import UpdateSession
from skep_shared.broker.redis_client.redis_errors import is_out_of_memory
from skep_shared.broker.script_replies import (
    CellCommit,
    Claim,
    Closed,
    Controlled,
    ControlStatus,
    Placed,
    Recovered,
    SubmitStatus,
)
from skep_shared.broker.tenant_scripts import TenantScripts
from skep_shared.isolation.tenants import TenantQuotas

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Full:
    """A full server with a session whose cells `a` and `b` are pending at w1."""

    shard: Any
    claim: Claim

    async def make_room(self):
        await self.shard.redis.config_set("maxmemory", 0)


@pytest.fixture
async def full(own_shard):
    await own_shard.submit("a", "b", client="c1")
    claim = await own_shard.claim("w1")
    await own_shard.redis.config_set("maxmemory", 1)
    return Full(own_shard, claim)


async def test_the_server_refuses_plain_writes(full):
    """What the other tests here stand on."""
    with pytest.raises(ResponseError, match="maxmemory"):
        await full.shard.redis.set("key", "value")


@pytest.mark.parametrize("sid", ["s", "new"])
async def test_a_submit_is_refused_as_out_of_memory_and_writes_nothing(full, sid):
    before = await full.shard.dump()

    with pytest.raises(ResponseError) as caught:
        await full.shard.submit("c", sid=sid)

    assert is_out_of_memory(caught.value)
    assert await full.shard.dump() == before


async def test_the_refused_submit_succeeds_once_there_is_room(full):
    with pytest.raises(ResponseError):
        await full.shard.submit("c")
    await full.make_room()

    assert (await full.shard.submit("c")).cells == (Placed(3),)


async def test_a_submit_sent_again_is_still_answered(full):
    assert (await full.shard.submit("a", "b", client="c1")).cells == (Placed(1), Placed(2))


async def test_events_are_written(full):
    assert await full.shard.scripts.emit(full.claim, 1, [b"x" * 10_000, b"y"]) == 2
    assert [event_id for event_id, _ in await full.shard.events()] == ["1-0", "2-0"]


async def test_cells_are_committed_and_replied_to(full):
    assert await full.shard.commit(full.claim, CellCommit("a", 1, (b"a1", b"a2")), CellCommit("b", 3, (b"b1",))) == 3

    assert (await full.shard.session())["cursor"] == "2"
    assert [pointer["c"] for pointer, _ in await full.shard.replies("c1")] == ["a", "b"]


async def test_a_tenants_cells_are_committed_and_its_sessions_claimed_and_counted(own_shard):
    redis, keys, sid = own_shard.redis, own_shard.keys, "acme/s"
    await own_shard.submit("a", "b", sid=sid)
    await own_shard.join("w1")
    await redis.hset(keys.tenants, "acme", TenantQuotas(max_resident=1).pack())
    await redis.config_set("maxmemory", 1)

    claim = await own_shard.scripts.claim(sid, "w1", "token")
    await own_shard.commit(claim, CellCommit("a", 1, (b"e",)))
    await TenantScripts(redis, keys).charge(claim, 5)
    await TenantScripts(redis, keys).charge_cpu(claim, 5)

    assert await redis.hgetall(keys.tenant("acme")) == {b"pending": b"1", b"bytes": b"5"}
    assert await redis.smembers(keys.resident("acme")) == {b"acme/s"}


async def test_a_resent_commit_still_changes_nothing(full):
    await full.shard.commit(full.claim, CellCommit("a", 1, (b"e",)))
    before = await full.shard.dump()

    assert await full.shard.commit(full.claim, CellCommit("a", 1, (b"e",))) == 1
    assert await full.shard.dump() == before


@pytest.mark.parametrize("worker", ["w1", "w2"], ids=["known", "new"])
async def test_workers_stay_alive(full, worker):
    await full.shard.beat(worker, facts=b"new facts" * 100)

    assert await full.shard.redis.hget(full.shard.keys.worker(worker), "facts") == b"new facts" * 100


async def test_a_dead_workers_session_is_taken_over(full):
    await full.shard.kill("w1")
    await full.shard.join("w2")

    claim = await full.shard.scripts.claim("s", "w2", "t2")

    assert (claim.epoch, claim.cursor, claim.seq) == (2, 0, 2)


async def test_a_free_session_is_claimed(full):
    await full.shard.scripts.release(full.claim, "w1")

    assert (await full.shard.scripts.claim("s", "w1", "t2")).epoch == 2


async def test_a_claim_that_the_owner_wins_wakes_it(full):
    await full.shard.join("w2")
    await full.shard.scripts.claim("s", "w2", "t2")

    assert [letter["k"] for letter in await full.shard.mail("w1")] == ["wake"]


async def test_a_request_reaches_the_owner(full):
    assert await full.shard.scripts.control("s", "interrupt") == Controlled(ControlStatus.OK)
    assert [letter["k"] for letter in await full.shard.mail("w1")] == ["interrupt"]


async def test_an_absent_session_is_asked_for(full):
    await full.shard.kill("w1")

    answer = await full.shard.scripts.control("s", "inspect", about="process")

    assert answer == Controlled(ControlStatus.ABSENT)
    assert await full.shard.activations() == ["s", "s"]  # the submit's first


async def test_another_client_can_watch(full):
    assert (await full.shard.scripts.watch("s", "a", client_id="c2")).cell == Placed(1)
    assert (await full.shard.ids())["a"] == "p:1:c1,c2"


async def test_a_session_is_given_back(full):
    assert await full.shard.scripts.release(full.claim, "w1") == 2
    assert list(await full.shard.waiting()) == ["s"]


async def test_a_session_is_ended_by_its_owner(full):
    await full.shard.scripts.close("s")
    await full.shard.commit(full.claim, CellCommit("a", 1, (b"e",)), CellCommit("b", 2, (b"e",)))

    await full.shard.scripts.release(full.claim, "w1", closing_event=b"closed", first_event=3)

    assert (await full.shard.session())["state"] == "closed"


async def test_an_owned_session_can_be_closed(full):
    assert await full.shard.scripts.close("s") == Closed("CLOSING", 0)
    assert [letter["k"] for letter in await full.shard.mail("w1")] == ["close"]


async def test_a_session_whose_owner_died_can_be_closed(full):
    await full.shard.kill("w1")

    assert await full.shard.scripts.close("s") == Closed("CLOSING", 0)
    assert await full.shard.activations() == ["s", "s"]  # the submit's first


async def test_a_session_with_nothing_to_do_can_be_closed_and_purged(full):
    await full.shard.commit(full.claim, CellCommit("a", 1, (b"e",)), CellCommit("b", 2, (b"e",)))
    await full.shard.scripts.release(full.claim, "w1")

    assert await full.shard.scripts.close("s") == Closed("CLOSED", 3)
    assert await full.shard.scripts.purge("s")


async def test_the_sessions_of_a_dead_worker_are_recovered(full):
    await full.shard.kill("w1")

    assert await full.shard.scripts.recover(silence_ms=0, page=10, patience_ms=1000) == Recovered(1, ("s",))


async def test_sessions_that_wait_too_long_are_named(full):
    await full.shard.scripts.release(full.claim, "w1")

    assert await full.shard.scripts.recover(silence_ms=600_000, page=10, patience_ms=0) == Recovered(0, ("s",))


async def test_a_worker_can_leave(full):
    await full.shard.scripts.release(full.claim, "w1")

    assert await full.shard.scripts.leave("w1") == 0


async def test_a_closed_session_is_reported_before_the_lack_of_memory(full):
    await full.shard.scripts.close("s")

    assert (await full.shard.submit("c")).status is SubmitStatus.CLOSED


async def test_an_activation_of_its_own_is_refused_and_writes_nothing(full):
    before = await full.shard.dump()

    with pytest.raises(ResponseError) as caught:
        await full.shard.scripts.activate(["s"])

    assert is_out_of_memory(caught.value)
    assert await full.shard.dump() == before


async def test_a_deferred_cell_is_refused_and_writes_nothing(full):
    before = await full.shard.dump()

    with pytest.raises(ResponseError) as caught:
        await full.shard.scripts.defer(f"{full.shard.keys.prefix}:cell:s:c", b"job", by_ms=0)

    assert is_out_of_memory(caught.value)
    assert await full.shard.dump() == before


async def test_a_change_of_options_is_refused_as_out_of_memory_and_writes_nothing(full):
    before = await full.shard.dump()

    with pytest.raises(ResponseError) as caught:
        await full.shard.scripts.update("s", b"options", b"changed", UpdateSession("s", 1.0))

    assert is_out_of_memory(caught.value)
    assert await full.shard.dump() == before
