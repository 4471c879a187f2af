"""Tenants: a client of one sees its own sessions only, and its quotas hold."""

import asyncio
import contextlib

import pytest

import skep
from skep.tenants import list_tenants, read_tenant, remove_quotas, set_quotas
from skep_shared.isolation.tenants import TenantQuotas, TenantUse
from skep_shared.settings import Settings

pytestmark = pytest.mark.anyio

NO_USE = TenantUse(sessions=0, resident=0, pending=0, stored_bytes=0, cpu_seconds=0)


@pytest.fixture
async def acme(shard):
    async with skep.connect(settings=shard.settings, tenant="acme") as client:
        yield client


@pytest.fixture
async def beta(shard):
    async with skep.connect(settings=shard.settings, tenant="beta") as client:
        yield client


async def ids(client):
    return [info.id async for info in client.sessions()]


async def keys_of(client):
    redis, prefix = client._link.redis, client.settings.prefix
    return {key.decode() async for key in redis.scan_iter(match=f"*{prefix}*", count=1000)}


@pytest.mark.parametrize("tenant", ["", "x" * 51, "a/b", "a\nb", "a\0b", "..", "a:b", 7, b"acme"])
async def test_a_bad_tenant_is_refused_before_anything_is_sent(shard, tenant):
    with pytest.raises(skep.InvalidArgument) as caught:
        skep.connect(settings=shard.settings, tenant=tenant)
    assert caught.value.field == "tenant"
    with pytest.raises(skep.InvalidArgument) as caught:
        skep.connect("redis://127.0.0.1:1/0", tenant=tenant)
    assert caught.value.field == "tenant"
    with pytest.raises(skep.InvalidArgument) as caught:
        async with skep.embedded(tenant=tenant):
            raise AssertionError("it has started")
    assert caught.value.field == "tenant"


async def test_an_id_with_a_slash_is_refused_with_and_without_a_tenant(shard, acme):
    texts = set()
    for client in (shard, acme):
        with pytest.raises(skep.InvalidArgument) as caught:
            client.session("beta/s")
        texts.add(str(caught.value))

    assert len(texts) == 1


async def test_the_tenant_can_be_set_in_the_environment(shard, acme, monkeypatch):
    await acme.session("s").submit("1")
    monkeypatch.setenv("SKEP_TENANT", "acme")

    async with skep.connect(
        settings=Settings.load(redis_url=shard.settings.redis_url, prefix=shard.settings.prefix)
    ) as it:
        assert await ids(it) == ["s"]


async def test_each_tenant_lists_its_own_sessions_by_short_ids(shard, acme, beta):
    await shard.session("s").submit("1")
    for client in (acme, beta):
        for name in ("s", "t"):
            await client.session(name).submit("1")

    assert await ids(acme) == await ids(beta) == ["s", "t"]
    assert sorted(await ids(shard)) == ["acme/s", "acme/t", "beta/s", "beta/t", "s"]


async def error_of(call):
    """Return type and text of the error that a call ends with."""
    try:
        result = call()
        if hasattr(result, "__aiter__"):
            return "yielded", [each async for each in result]
        return "returned", await result
    except skep.SkepError as exc:
        return type(exc), str(exc), exc.args


SESSION_CALLS = {
    "info": lambda session: session.info,
    "interrupt": lambda session: session.interrupt,
    "answer": lambda session: lambda: session.answer("x"),
    "complete": lambda session: lambda: session.complete("x"),
    "inspect": lambda session: lambda: session.inspect("x"),
    "variables": lambda session: session.variables,
    "checkpoints": lambda session: session.checkpoints,
    "events": lambda session: session.events,
    "transcript": lambda session: session.transcript,
    "rollback": lambda session: lambda: session.rollback("1-0"),
    "name": lambda session: lambda: session.name_checkpoint("1-0", "x"),
    "fork": lambda session: lambda: session.fork("new"),
    "fork at": lambda session: lambda: session.fork("new", at="1-0"),
    "hibernate": lambda session: session.hibernate,
    "update": lambda session: lambda: session.update(skep.SessionOptions(labels={})),
    "close": lambda session: session.close,
    "purge": lambda session: lambda: session.close(purge=True),
    "files": lambda session: session.files.list,
    "cell outcome": lambda session: session.cell("c").outcome,
    "cell events": lambda session: session.cell("c").events,
    "cell interrupt": lambda session: session.cell("c").interrupt,
    "cell cancel": lambda session: session.cell("c").cancel,
}


async def test_another_tenants_session_is_indistinguishable_from_a_missing_one(shard, acme, beta, start_worker):
    await start_worker()
    await acme.session("theirs").run("x = 1", cell_id="c")
    await shard.session("theirs").run("x = 1", cell_id="c")
    before = await keys_of(shard)

    for name, call in SESSION_CALLS.items():
        seen = await error_of(call(beta.session("theirs")))
        missing = await error_of(call(beta.session("missing")))
        assert repr(seen) == repr(missing).replace("missing", "theirs"), name
    seen, missing = [await error_of(lambda name=name: beta.why(name)) for name in ("theirs", "missing")]
    assert repr(seen) == repr(missing).replace("missing", "theirs")

    assert {key for key in await keys_of(shard) - before if ":session:" in key} == set()


async def test_a_tenants_session_does_everything_that_sessions_do(shard, acme, start_worker):
    await start_worker()
    session = acme.session("s")
    assert (await session.run("x = 41; print('text'); x + 1")).value == 42
    await session.files.put("data.txt", b"abc")
    assert (await session.run("open('data.txt').read()")).value == "abc"
    await session.hibernate()
    assert (await session.run("x")).value == 41
    fork = await session.fork("forked")
    assert (await fork.run("x")).value == 41
    assert (await (await session.submit("x + 2", defer_by=0)).outcome()).value == 43
    await session.rollback("1-0")
    assert (await session.run("x")).session_id == "s"
    assert {event.session_id async for event in session.events()} == {"s"}
    assert [each.name for each in await session.variables()] == ["x"]
    assert sorted(await ids(acme)) == ["forked", "s"]

    for each in (session, fork):
        await each.close(purge=True)
    assert await ids(shard) == []
    left = {key for key in await keys_of(shard) if ":tenant:" in key}
    assert left <= {shard._link.keys.cpu("acme")}  # it ends with the day


async def test_the_directory_of_a_session_is_its_own(shard, acme, beta, start_worker):
    await start_worker()
    code = "import os; os.path.basename(os.getcwd())"

    names = [(await client.session("s").run(code)).value for client in (shard, acme, beta)]

    assert names == ["s", "acme,s", "beta,s"]


async def test_a_submit_above_a_quota_raises_and_writes_nothing(acme, beta):
    await set_quotas(acme._link, "acme", {"max_pending": 2})
    await acme.session("s").submit("1")
    before = await keys_of(acme)

    for submit in (
        lambda: acme.session("t").submit_many(["1", "2"]),
        lambda: acme.session("s").submit_many(["1", "2"], stop_on_error=True),
    ):
        with pytest.raises(skep.QuotaExceeded) as caught:
            await submit()
        error = caught.value
        assert (error.tenant, error.quota, error.value, error.bound) == ("acme", "max_pending", 3, 2)
        assert error.retry_after is None

    assert {key for key in await keys_of(acme) - before if ":client:" not in key} == set()
    await beta.session("s").submit_many(["1", "2", "3"])


async def test_the_rate_says_when_to_try_again(acme):
    await set_quotas(acme._link, "acme", {"cells_a_minute": 2})
    await acme.session("s").submit_many(["1", "2"])

    with pytest.raises(skep.QuotaExceeded) as caught:
        await acme.session("t").submit("1")

    assert caught.value.quota == "cells_a_minute"
    assert 0 < caught.value.retry_after <= 30


async def test_a_session_above_max_resident_waits_and_says_why(acme, start_worker, gate):
    await start_worker()
    await set_quotas(acme._link, "acme", {"max_resident": 1})
    running = await acme.session("s").submit(gate.wait)
    async with contextlib.aclosing(running.events()) as events:
        async for event in events:
            if event.kind == "cell.started":
                break
    waiting = await acme.session("t").submit("7")

    why = await acme.why("t")
    assert why.reasons[0] == "1 sessions of tenant acme are resident, as many as its quota max_resident permits"
    assert why.info.owner is None

    gate.open()
    assert (await waiting.outcome()).value == 7  # the worker hibernates the other session, which is idle now


async def test_another_tenants_sessions_need_no_room_of_a_full_one(acme, beta, start_worker, gate):
    await start_worker()
    await set_quotas(acme._link, "acme", {"max_resident": 1})
    running = await acme.session("s").submit(gate.wait)
    waiting = [await acme.session(f"t{number}").submit("7") for number in range(5)]

    assert (await beta.session("s").run("8")).value == 8

    gate.open()
    await asyncio.gather(running.outcome(), *(cell.outcome() for cell in waiting))


async def test_stored_bytes_are_counted_at_commits_and_refuse_submits(acme, start_worker):
    await start_worker()
    link, session = acme._link, acme.session("s")
    await session.run("import os; x = os.urandom(300_000)")
    await session.hibernate()
    stored = (await read_tenant(link, "acme")).use.stored_bytes
    assert stored > 300_000
    await set_quotas(link, "acme", {"max_bytes": 300_000})

    with pytest.raises(skep.QuotaExceeded) as caught:
        await acme.session("t").submit("1")
    assert (caught.value.quota, caught.value.value) == ("max_bytes", stored)

    await session.close(purge=True)
    assert (await read_tenant(link, "acme")).use.stored_bytes == 0
    await acme.session("t").submit("1")


BUSY = "import time\nuntil = time.process_time() + 1.1\nwhile time.process_time() < until: pass"


async def test_processor_time_is_counted_at_commits_and_refuses_submits(acme, start_worker, eventually):
    await start_worker()
    link, session = acme._link, acme.session("s")
    await set_quotas(link, "acme", {"cpu_seconds_a_day": 1})
    await session.run(BUSY)

    async def is_counted():
        return (await read_tenant(link, "acme")).use.cpu_seconds > 1

    await eventually(is_counted)
    with pytest.raises(skep.QuotaExceeded) as caught:
        await acme.session("t").submit("1")
    assert (caught.value.quota, caught.value.bound) == ("cpu_seconds_a_day", 1)
    assert 0 < caught.value.retry_after <= 86_400


async def test_processor_time_of_child_processes_counts_when_the_session_hibernates(acme, start_worker):
    await start_worker()
    session = acme.session("s")
    await session.run(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BUSY!r}], check=True)")

    await session.hibernate()

    assert (await read_tenant(acme._link, "acme")).use.cpu_seconds > 1


async def test_quotas_are_set_shown_and_removed(acme):
    link = acme._link
    await set_quotas(link, "b", {"max_pending": 5})
    await set_quotas(link, "a", {"max_resident": 1, "max_pending": 5})
    await set_quotas(link, "a", {"max_pending": None, "max_bytes": 7})

    found = await list_tenants(link)
    assert [tenant.id for tenant in found] == ["a", "b"]
    assert found[0].quotas == TenantQuotas(max_resident=1, max_bytes=7)
    assert (await read_tenant(link, "a")).use == NO_USE

    await remove_quotas(link, "a")
    for call in (read_tenant, remove_quotas):
        with pytest.raises(skep.NotFound):
            await call(link, "a")


async def test_what_a_tenant_uses_is_shown_without_quotas(acme):
    await acme.session("s").submit_many(["1", "2"])

    tenant = await read_tenant(acme._link, "acme")

    assert tenant.quotas == TenantQuotas()
    assert tenant.use == TenantUse(sessions=1, resident=0, pending=2, stored_bytes=0, cpu_seconds=0)
