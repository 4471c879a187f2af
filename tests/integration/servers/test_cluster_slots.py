"""A shard on Redis Cluster: all of its keys are in one slot, arq's included, so that scripts and transactions run."""

import asyncio
import contextlib

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import ResponseError

import skep
from skep.tenants import set_quotas
from skep_shared.broker.activation import SUBMIT_JOB
from skep_shared.settings import Settings
from skep_workers.host.broker.dispatch import open_arq

from .tcp_servers import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

SLOTS = 16_384
BUS_PORT_OFFSET = 10_000
PREFIX = "{skep}"


@pytest.fixture
async def server(start_server):
    """A cluster of one node, which has all slots; it refuses what touches several of them at once."""
    port = free_port()
    while port + BUS_PORT_OFFSET > 65_535:
        port = free_port()
    server = await start_server("--cluster-enabled", "yes", port=port)
    await server.admin.execute_command("CLUSTER", "ADDSLOTS", *range(SLOTS))
    while b"cluster_state:ok" not in await server.admin.execute_command("CLUSTER", "INFO"):  # noqa: ASYNC110
        await asyncio.sleep(0.05)  # it sends no signal
    return server


@pytest.fixture
async def written_keys(server):
    """Every key that has been written since, as a set that grows; the server reports each write."""
    await server.admin.config_set("notify-keyspace-events", "KA")
    keys = set()
    async with Redis(port=server.port) as redis, redis.pubsub() as pubsub:
        await pubsub.psubscribe("__keyspace@0__:*")

        async def read():
            async for message in pubsub.listen():
                if message["type"] == "pmessage":
                    keys.add(message["channel"].partition(b":")[2])

        reading = asyncio.create_task(read())
        yield keys
        reading.cancel()
        await asyncio.wait({reading})


async def use_everything(client, url):
    """Do with sessions what writes keys: cells, requests, files, forks, checkpoints, deferred cells, retention."""
    session = client.session("s")
    assert (await session.run("x = 41; print('text'); x + 1")).value == 42
    assert (await (await session.submit("x", defer_by=0.01)).outcome()).value == 41
    await session.files.put("f", b"data")
    assert "x" in {variable.name for variable in await session.variables()}
    cell = await session.submit("import time; time.sleep(60)")
    assert await cell.interrupt()
    await cell.outcome()
    [*checkpoints] = [checkpoint async for checkpoint in session.checkpoints()]
    await session.name_checkpoint(checkpoints[-1].id, "here")
    fork = await session.fork("t", at="here")
    assert (await fork.run("x")).value == 41
    await session.rollback("here")
    await session.hibernate()
    async with contextlib.aclosing(open_arq(Settings.load(redis_url=url))) as arq:
        await arq.enqueue_job(f"{PREFIX}:upkeep", _job_id=f"{PREFIX}:upkeep")
        job = await arq.enqueue_job(SUBMIT_JOB, "s", "x", _job_id=f"{PREFIX}:theirs")
        assert await job.result(timeout=20, poll_delay=0.02) == f"{PREFIX}:theirs"
        with pytest.raises(ResponseError, match="CROSSSLOT"):
            await arq.enqueue_job(SUBMIT_JOB, "s", "x", _job_id="of another slot")
        failed = await arq.enqueue_job("no such function", _job_id=f"{PREFIX}:unknown")
        with pytest.raises(Exception, match="not found"):
            await failed.result(timeout=20, poll_delay=0.02)
        while await arq.exists(f"{PREFIX}:arq"):  # noqa: ASYNC110 - the end of a job sends no signal
            await asyncio.sleep(0.02)
    await fork.close(purge=True)
    await session.close(purge=True)


async def use_a_tenant(settings):
    """Do what writes keys of a tenant."""
    async with skep.connect(settings=settings, tenant="acme") as client:
        await set_quotas(client._link, "acme", {"max_resident": 1, "cells_a_minute": 100})
        for name in "st":
            await client.session(name).run("x = 1")
        for name in "st":
            await client.session(name).close(purge=True)


async def test_every_key_of_a_shard_is_in_one_slot(server, written_keys, work_at, connect_to, tmp_path):
    worker = await work_at(server.url, log_path=tmp_path / "worker.log")
    client = await connect_to(server.url)
    await use_everything(client, server.url)
    await use_a_tenant(client.settings)
    await worker.stop()

    kinds = {key.decode().partition(PREFIX)[0] for key in written_keys}
    assert kinds == {"", "arq:job:", "arq:result:", "arq:retry:", "arq:in-progress:"}
    assert {key_slot(key) for key in written_keys} == {key_slot(PREFIX.encode())}
    log = (tmp_path / "worker.log").read_text()
    assert "CROSSSLOT" not in log
    assert skep.Settings.load().prefix == PREFIX
