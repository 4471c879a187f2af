"""The cluster at a glance: what is counted, for whom, and how often."""

import asyncio
from datetime import UTC, datetime

import pytest

import skep
from skep.gateway.clusters import TenantCluster
from skep.gateway.summaries import KEPT_SECONDS, Summaries, read_summary
from skep.gateway.tokens.store import TokenStore
from skep_shared.broker.scripts import Scripts
from skep_shared.models import WorkerFacts

pytestmark = pytest.mark.anyio

NONE = {"open": 0, "closing": 0, "closed": 0, "resident": 0, "busy": 0}
WORKER = WorkerFacts(host="h", pid=1, version="1", python="3.11", started_at=datetime.now(UTC), capacity=4, resident=1)


@pytest.fixture
async def acme(shard):
    """A client of the shard's tenant acme."""
    async with skep.connect(settings=shard.settings, tenant="acme") as cluster:
        yield cluster


async def test_sessions_are_counted_by_state_with_their_cells(shard):
    for session_id, cells in (("a", 1), ("b", 1), ("c", 2)):
        await shard.session(session_id).submit_many(["1"] * cells)
    scripts = Scripts(shard._link.redis, shard._link.keys)
    await scripts.heartbeat("w", 600_000, WORKER.pack(), patience_ms=600_000)
    await scripts.claim("a", "w", "t")

    found = await read_summary(shard._link, is_of_shard=True)

    assert (found["total_sessions"], found["counted_sessions"], found["pending_cells"]) == (3, 3, 4)
    assert found["sessions"] == {**NONE, "open": 3, "resident": 1, "busy": 3}
    assert found["workers"] == {"live": 1, "capacity": 4, "resident": 1}


async def test_the_maximum_of_redis_is_shown_if_it_has_one(own_redis_server):
    async with skep.connect(own_redis_server.url) as cluster:
        before = (await read_summary(cluster._link, is_of_shard=True))["redis"]
        await cluster._link.redis.config_set("maxmemory", "1gb")
        after = (await read_summary(cluster._link, is_of_shard=True))["redis"]

    assert before["used_bytes"] > 0
    assert (before["max_bytes"], after["max_bytes"]) == (None, 2**30)


async def test_a_tenant_sees_its_own_counts_and_nothing_of_the_server(shard, acme):
    await shard.session("ours").submit("1")
    await acme.session("theirs").submit_many(["1", "2"])

    found = await read_summary(acme._link, is_of_shard=False)

    assert (found["total_sessions"], found["sessions"]["open"], found["pending_cells"]) == (1, 1, 2)
    assert (found["workers"], found["redis"]) == (None, None)
    assert (await read_summary(shard._link, is_of_shard=True))["total_sessions"] == 2


async def test_very_many_sessions_are_counted_up_to_a_bound(shard):
    for number in range(201):
        await shard._link.scripts.open(f"s{number}", b"")

    found = await read_summary(shard._link, is_of_shard=True, most=100)

    assert (found["total_sessions"], found["counted_sessions"]) == (201, 200)


async def test_many_who_ask_cause_one_count(shard, acme, monkeypatch):
    moment, counts = [0.0], []

    async def count(link, *, is_of_shard):
        counts.append(is_of_shard)
        await asyncio.sleep(0)
        return {"number": len(counts)}

    monkeypatch.setattr("skep.gateway.summaries.read_summary", count)
    summaries = Summaries(now=lambda: moment[0])
    ours = TenantCluster(None, shard, shard._link)

    assert await asyncio.gather(*(summaries.of(ours) for _ in range(5))) == [{"number": 1}] * 5
    assert await summaries.of(TenantCluster("acme", acme, acme._link)) == {"number": 2}
    assert counts == [True, False]
    moment[0] += KEPT_SECONDS
    assert await summaries.of(ours) == {"number": 3}


async def test_it_is_served_by_the_rights_of_the_token(http, gateway, cluster, path):
    await http.post(f"{path}/cells", params={"wait": 40}, json={"code": "1"})

    found = (await http.get("/v1/summary")).json()
    assert found["workers"]["live"] == len(cluster.worker_processes)
    assert found["sessions"]["open"] >= 1
    assert found["redis"]["used_bytes"] > 0

    _, token = await TokenStore(cluster._link).create(can=["read"], tenant="acme")
    async with gateway.client(token) as tenant:
        found = (await tenant.get("/v1/summary")).json()
    assert found == {
        "total_sessions": 0, "counted_sessions": 0, "sessions": NONE, "pending_cells": 0, "workers": None, "redis": None,
    }  # fmt: skip
