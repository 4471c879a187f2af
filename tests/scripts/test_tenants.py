"""The quotas of tenants, and what the scripts count for them."""

import secrets

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skep_shared.broker.retention_scripts import ExpiryStatus, RetentionScripts
from skep_shared.broker.script_replies import CellCommit, Claim, ClaimStatus, ExceededQuota, ForkSource, SubmitStatus
from skep_shared.broker.tenant_scripts import TenantScripts
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.errors import Fenced
from skep_shared.isolation.tenants import TenantQuotas

pytestmark = pytest.mark.anyio

S, T = "acme/s", "acme/t"


@pytest.fixture
def tenants(shard):
    return Tenants(shard)


class Tenants:
    """What Redis has about tenants."""

    def __init__(self, shard):
        self.shard = shard
        self.redis, self.keys = shard.redis, shard.keys

    async def set(self, tenant="acme", **quotas):
        await self.redis.hset(self.keys.tenants, tenant, TenantQuotas(**quotas).pack())

    async def use(self, tenant="acme"):
        return {name.decode(): int(n) for name, n in (await self.redis.hgetall(self.keys.tenant(tenant))).items()}

    async def sessions(self, tenant="acme"):
        return [sid.decode() for sid in await self.redis.zrange(self.keys.sessions_of(tenant), 0, -1)]

    async def resident(self, tenant="acme"):
        return {sid.decode() for sid in await self.redis.smembers(self.keys.resident(tenant))}

    async def end(self, sid, worker="w1"):
        """Commit every pending cell of a session, release it, close it and purge it."""
        claim = await self.shard.claim(worker, sid=sid)
        for seq, (_, cell) in enumerate(await self.shard.pending(sid), claim.cursor + 1):
            first = claim.last_event + seq - claim.cursor
            await self.shard.commit(claim, CellCommit(cell, first, (b"e",)), cursor=seq - 1, first=first)
        assert await self.shard.end(claim, worker)

    async def left(self, tenant="acme"):
        """Return the keys of a tenant, except its quotas and those that end by themselves."""
        found = {key.decode() async for key in self.redis.scan_iter(match=f"{self.keys.tenant(tenant)}*", count=1000)}
        return found - {self.keys.rate(tenant), self.keys.cpu(tenant)}


async def test_without_a_tenant_nothing_is_counted(shard):
    await shard.save("a")
    await shard.scripts.open("other", b"")

    assert not [key for key in await shard.dump() if ":tenant" in key]


async def test_a_new_session_is_listed_for_its_tenant_and_for_all(shard, tenants):
    await shard.submit("a", sid=S)
    await shard.scripts.open(T, b"")
    await shard.submit("a", sid="beta/s")

    assert set(await tenants.sessions()) == {S, T}
    assert await tenants.sessions("beta") == ["beta/s"]
    assert await shard.redis.zcard(shard.keys.sessions) == 3


async def test_a_fork_is_listed_for_its_tenant(shard, tenants):
    await shard.save("a", sid=S)
    source = ForkSource(S, int((await shard.session(S))["created_at"]), CheckpointId(1))

    await shard.scripts.fork(source, [T], b"manifest", "token")

    assert await tenants.sessions() == [S, T]


async def test_pending_cells_are_counted_from_submit_to_commit(shard, tenants):
    await shard.submit("a", "b", sid=S)
    await shard.submit("a", sid=T)
    assert await tenants.use() == {"pending": 3}

    claim = await shard.claim(sid=S)
    await shard.commit(claim, CellCommit("a", 1, (b"e",)), CellCommit("b", 2, (b"e",)))

    assert await tenants.use() == {"pending": 1}


async def test_a_commit_that_is_sent_again_is_counted_once(shard, tenants):
    await shard.submit("a", "b", sid=S)
    claim = await shard.claim(sid=S)
    for _ in range(2):
        await shard.commit(claim, CellCommit("a", 1, (b"e",)))

    assert await tenants.use() == {"pending": 1}


async def test_known_cells_are_not_counted_again_and_need_no_quota(shard, tenants):
    await tenants.set(max_pending=1, cells_a_minute=1)
    await shard.submit("a", sid=S)

    assert (await shard.submit("a", sid=S)).status is SubmitStatus.OK
    assert await tenants.use() == {"pending": 1}


async def test_a_submit_above_max_pending_writes_nothing(shard, tenants):
    await tenants.set(max_pending=3)
    await shard.submit("a", "b", sid=S)
    before = await shard.dump()

    answer = await shard.submit("a", "b", sid=T)

    assert answer.status is SubmitStatus.QUOTA
    assert answer.exceeded == ExceededQuota("max_pending", 4, 3, None)
    assert await shard.dump() == before
    assert (await shard.submit("a", sid=T)).status is SubmitStatus.OK


async def test_a_quota_is_of_one_tenant(shard, tenants):
    await tenants.set(max_pending=1)
    await shard.submit("a", sid=S)

    assert (await shard.submit("a", "b", sid="beta/s")).status is SubmitStatus.OK
    assert (await shard.submit("a", "b", sid="s")).status is SubmitStatus.OK


async def test_a_closed_session_is_reported_before_a_quota(shard, tenants):
    await shard.submit("a", sid=S)
    await tenants.end(S)
    await shard.scripts.open(S, b"")
    await shard.scripts.close(S)
    await tenants.set(max_bytes=1, max_pending=1)

    assert (await shard.submit("b", "c", sid=S)).status is SubmitStatus.CLOSED


async def test_a_minute_can_be_used_in_advance_and_then_each_cell_waits_its_part(shard, tenants):
    await tenants.set(cells_a_minute=3)
    assert (await shard.submit("a", "b", "c", sid=S)).status is SubmitStatus.OK

    answer = await shard.submit("d", sid=T)

    assert answer.status is SubmitStatus.QUOTA
    exceeded = answer.exceeded
    assert (exceeded.quota, exceeded.value, exceeded.bound) == ("cells_a_minute", 4, 3)
    assert 0 < exceeded.wait_ms <= 20_000


async def test_cells_are_accepted_again_after_the_time_that_the_refusal_names(shard, tenants):
    await tenants.set(cells_a_minute=3)
    await shard.submit("a", "b", "c", sid=S)
    wait_ms = (await shard.submit("d", sid=S)).exceeded.wait_ms
    key = shard.keys.rate("acme")
    await shard.redis.set(key, float(await shard.redis.get(key)) - wait_ms)  # as if that time had passed

    assert (await shard.submit("d", sid=S)).status is SubmitStatus.OK


async def test_a_batch_larger_than_a_minute_never_fits(shard, tenants):
    await tenants.set(cells_a_minute=2)

    answer = await shard.submit("a", "b", "c", sid=S)

    assert answer.exceeded == ExceededQuota("cells_a_minute", 3, 2, None)
    assert await tenants.left() == set()


async def test_the_largest_batch_fits_at_any_rate(shard, tenants):
    for most in (1, 7, 600, 1000):
        tenant = f"tenant-{most}"
        await tenants.set(tenant, cells_a_minute=most)
        cells = [f"c{number}" for number in range(most)]
        assert (await shard.submit(*cells, sid=f"{tenant}/s", most=10_000)).status is SubmitStatus.OK


async def test_a_clock_that_was_set_back_does_not_stop_a_tenant(shard, tenants):
    await tenants.set(cells_a_minute=600)
    await shard.redis.set(shard.keys.rate("acme"), 9e15)

    assert (await shard.submit("a", sid=S)).exceeded.wait_ms <= 101


async def test_the_time_of_the_rate_ends_by_itself(shard, tenants):
    await tenants.set(cells_a_minute=600)
    await shard.submit("a", sid=S)

    assert 0 < await shard.redis.pttl(shard.keys.rate("acme")) <= 101


async def test_stored_bytes_are_counted_and_refuse_new_cells(shard, tenants):
    await tenants.set(max_bytes=100)
    await shard.submit("a", sid=S)
    claim = await shard.claim(sid=S)
    charges = TenantScripts(shard.redis, shard.keys)
    for stored in (90, 101, 101):
        await charges.charge(claim, stored)
    assert await tenants.use() == {"pending": 1, "bytes": 101}

    answer = await shard.submit("b", sid=T)
    assert answer.exceeded == ExceededQuota("max_bytes", 101, 100, None)

    await charges.charge(claim, 100)
    assert (await shard.submit("b", sid=T)).status is SubmitStatus.OK


async def test_only_the_owner_counts_stored_bytes(shard, tenants):
    await shard.submit("a", sid=S)
    claim = await shard.claim(sid=S)
    await shard.scripts.release(claim, "w1")

    with pytest.raises(Fenced):
        await TenantScripts(shard.redis, shard.keys).charge(claim, 5)
    assert await tenants.use() == {"pending": 1}


async def charge_cpu(shard, claim, *milliseconds):
    scripts = TenantScripts(shard.redis, shard.keys)
    for each in milliseconds:
        await scripts.charge_cpu(claim, each)


async def test_processor_time_of_a_day_is_counted_once_and_refuses_new_cells(shard, tenants):
    await tenants.set(cpu_seconds_a_day=10)
    await shard.submit("a", sid=S)
    claim = await shard.claim(sid=S)
    await charge_cpu(shard, claim, 4000, 10_000, 10_000, 9000)
    assert (await shard.submit("b", sid=T)).status is SubmitStatus.OK

    await charge_cpu(shard, claim, 10_001)

    exceeded = (await shard.submit("c", sid=T)).exceeded
    assert (exceeded.quota, exceeded.value, exceeded.bound) == ("cpu_seconds_a_day", 11, 10)
    assert 0 < exceeded.wait_ms <= 86_400_000


async def test_processor_time_of_the_next_owner_is_added(shard, tenants):
    await shard.submit("a", sid=S)
    first = await shard.claim(sid=S)
    await charge_cpu(shard, first, 5000)
    await shard.scripts.release(first, "w1")
    second = await shard.claim("w1", sid=S)

    await charge_cpu(shard, second, 300, 300)

    assert await shard.redis.get(shard.keys.cpu("acme")) == b"5300"
    with pytest.raises(Fenced):
        await charge_cpu(shard, first, 6000)


async def test_the_count_of_a_day_ends_with_it(shard, tenants):
    await shard.submit("a", sid=S)

    await charge_cpu(shard, await shard.claim(sid=S), 5000)

    seconds, micros = await shard.redis.time()
    until_midnight = 86_400_000 - (seconds * 1000 + micros // 1000) % 86_400_000
    assert abs(await shard.redis.pttl(shard.keys.cpu("acme")) - until_midnight) < 60_000 or until_midnight < 60_000


async def test_known_cells_need_no_processor_time(shard, tenants):
    await shard.submit("a", sid=S)
    await charge_cpu(shard, await shard.claim(sid=S), 5000)
    await tenants.set(cpu_seconds_a_day=1)

    assert (await shard.submit("a", sid=S)).status is SubmitStatus.OK


async def test_the_bytes_of_a_purged_session_count_until_its_last_fork_is_purged(shard, tenants):
    claim = await shard.save("a", sid=S)
    await TenantScripts(shard.redis, shard.keys).charge(claim, 70)
    source = ForkSource(S, int((await shard.session(S))["created_at"]), CheckpointId(1))
    await shard.scripts.fork(source, [T], b"manifest", "token")

    await shard.end(claim)
    assert (await tenants.use(), await tenants.sessions()) == ({"bytes": 70}, [T])

    await tenants.end(T)
    assert await tenants.left() == set()


async def test_a_session_above_max_resident_waits(shard, tenants):
    await tenants.set(max_resident=1)
    await shard.submit("a", sid=S)
    await shard.submit("a", sid=T)
    claim = await shard.claim(sid=S)
    since = (await shard.waiting())[T]

    assert await shard.scripts.claim(T, "w1", "token") is ClaimStatus.QUOTA
    assert (await shard.session(T))["owner"] == ""
    assert await shard.waiting() == {T: since}

    await shard.scripts.release(claim, "w1")
    assert isinstance(await shard.scripts.claim(T, "w1", "token"), Claim)
    assert await tenants.resident() == {T}


async def test_a_session_that_is_resident_can_be_claimed_again(shard, tenants):
    await tenants.set(max_resident=1)
    await shard.submit("a", sid=S)
    await shard.claim(sid=S)
    await shard.join("w2")

    assert isinstance(await shard.scripts.claim(S, "w1", "token of w1"), Claim)
    assert await shard.scripts.claim(S, "w2", "other") is ClaimStatus.OWNED
    await shard.kill("w1")
    assert isinstance(await shard.scripts.claim(S, "w2", "other"), Claim)


async def test_sessions_of_dead_workers_do_not_use_up_the_quota(shard, tenants):
    await tenants.set(max_resident=2)
    for sid in (S, T, "acme/u"):
        await shard.submit("a", sid=sid)
    await shard.claim("w1", sid=S)
    await shard.claim("w2", sid=T)
    assert await shard.scripts.claim("acme/u", "w2", "token") is ClaimStatus.QUOTA

    await shard.kill("w1")

    assert isinstance(await shard.scripts.claim("acme/u", "w2", "token"), Claim)
    assert await tenants.resident() == {T, "acme/u"}


async def test_a_session_that_is_to_be_closed_finds_an_owner_above_the_quota(shard, tenants):
    await tenants.set(max_resident=1)
    await shard.submit("a", sid=S)
    await shard.claim(sid=S)
    await shard.submit("a", sid=T)
    await shard.scripts.close(T)

    assert isinstance(await shard.scripts.claim(T, "w1", "token"), Claim)


@pytest.mark.parametrize("way", ["close", "expire"])
async def test_a_session_closed_without_its_dead_owner_is_not_resident(shard, tenants, way):
    claim = await shard.save("a", sid=S)
    assert await tenants.resident() == {S}
    await shard.kill("w1")

    if way == "close":
        assert (await shard.scripts.close(S)).state == "CLOSED"
    else:
        assert await RetentionScripts(shard.redis, shard.keys).expire(S, idle_ms=-1) is ExpiryStatus.CLOSED

    assert await tenants.resident() == set()
    assert await shard.scripts.purge(S)
    assert await tenants.left() == set()
    assert claim.session_id == S


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["submit", "submit two", "commit", "release", "kill", "charge", "end"]),
        st.sampled_from(["a/x", "a/y", "b/x", "b/y"]),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, most=st.integers(1, 5))
async def test_counts_are_right_after_any_steps_and_zero_at_the_end(shard, tenants, steps, most):
    mark = secrets.token_hex(4)
    names = {tenant: f"{tenant}{mark}" for tenant in "ab"}
    for name in names.values():
        await tenants.set(name, max_pending=most, max_resident=1)
    history = _History(shard, tenants, mark)
    for step, place in steps:
        await history.do(step, f"{names[place[0]]}/{place[2]}")
        for name in names.values():
            await history.check(name, most)
    for sid in list(history.known):
        await history.do("end", sid)
    for name in names.values():
        assert await tenants.left(name) == set()


class _History:
    """Steps of the sessions of some tenants; a step that doesn't fit the state of its session does nothing."""

    def __init__(self, shard, tenants, mark):
        self.shard, self.tenants, self.worker = shard, tenants, f"w-{mark}-"
        self.known, self.claims, self.bytes, self.number = set(), {}, {}, 0

    async def do(self, step, sid):
        match step:
            case "submit":
                await self._submit(sid, 1)
            case "submit two":
                await self._submit(sid, 2)
            case "commit":
                await self._commit(sid)
            case "release" if sid in self.claims:
                await self.shard.scripts.release(*self.claims.pop(sid))
            case "kill" if sid in self.claims:
                await self.shard.kill(self.claims.pop(sid)[1])
            case "charge" if sid in self.claims:
                self.bytes[sid] = self.number = self.number + 1
                charges = TenantScripts(self.shard.redis, self.shard.keys)
                await charges.charge(self.claims[sid][0], self.number)
            case "end" if sid in self.known:
                await self._end(sid)

    async def check(self, tenant, most):
        mine = [sid for sid in self.known if sid.startswith(f"{tenant}/")]
        hashes = [await self.shard.session(sid) for sid in mine]
        pending = sum(int(each["seq"]) - int(each["cursor"]) for each in hashes)
        stored = sum(int(each.get("bytes", 0)) for each in hashes)
        assert pending <= most
        expected = {"pending": pending, "bytes": stored}
        assert await self.tenants.use(tenant) == {name: number for name, number in expected.items() if number}
        assert set(await self.tenants.sessions(tenant)) == set(mine)
        resident = {sid for sid in self.claims if sid in mine}
        assert len(resident) <= 1
        assert resident <= await self.tenants.resident(tenant)

    async def _submit(self, sid, count):
        self.number += count
        cells = [f"{self.number}-{place}" for place in range(count)]
        if (await self.shard.submit(*cells, sid=sid)).status is SubmitStatus.OK:
            self.known.add(sid)

    async def _claim(self, sid):
        if sid not in self.claims:
            self.number += 1
            worker = f"{self.worker}{self.number}"
            await self.shard.join(worker)
            claim = await self.shard.scripts.claim(sid, worker, f"token {self.number}")
            if isinstance(claim, Claim):
                self.claims[sid] = claim, worker
        return self.claims.get(sid)

    async def _commit(self, sid):
        if not await self.shard.pending(sid) or await self._claim(sid) is None:
            return
        claim, _ = self.claims[sid]
        [(_, cell), *_] = await self.shard.pending(sid)
        fields = await self.shard.session(sid)
        cursor, first = int(fields["cursor"]), int(fields["last"]) + 1
        await self.shard.commit(claim, CellCommit(cell, first, (b"e",)), cursor=cursor, first=first)

    async def _end(self, sid):
        tenant = sid.partition("/")[0]
        for other in [other for other in self.claims if other.startswith(f"{tenant}/") and other != sid]:
            await self.shard.scripts.release(*self.claims.pop(other))  # there is room for one
        while await self.shard.pending(sid):
            await self._commit(sid)
        if sid in self.claims:
            await self.shard.scripts.release(*self.claims.pop(sid))
        assert (await self.shard.scripts.close(sid)).state == "CLOSED"
        assert await self.shard.scripts.purge(sid)
        self.known.discard(sid)
