"""Services that submit with plain arq name a tenant's session by its full id, and its quotas hold for them too."""

import pytest
from arq import create_pool
from arq.connections import RedisSettings

import skep
from skep.tenants import set_quotas
from skep_shared.broker.activation import pack_job, unpack_job

pytestmark = pytest.mark.anyio


@pytest.fixture
async def acme(shard):
    async with skep.connect(settings=shard.settings, tenant="acme") as client:
        yield client


async def test_plain_arq_submits_to_a_full_id(shard, acme, start_worker):
    await start_worker()
    path = shard.settings.redis_url.removeprefix("unix://").partition("?")[0]
    pool = await create_pool(
        RedisSettings(unix_socket_path=path),
        job_serializer=pack_job,
        job_deserializer=unpack_job,
        default_queue_name=f"{shard.settings.prefix}:arq",
    )
    try:
        job = await pool.enqueue_job("submit_cell", "acme/s", "6 * 7", _job_id=f"{shard.settings.prefix}:answer")
        cell_id = await job.result(timeout=30, poll_delay=0.02)
        assert (await acme.cell("s", cell_id).outcome()).value == 42
        await set_quotas(acme._link, "acme", {"cells_a_minute": 1, "max_pending": 1})
        job = await pool.enqueue_job("submit_cell", "acme/s", "1", _job_id=f"{shard.settings.prefix}:first")
        await job.result(timeout=30, poll_delay=0.02)
        job = await pool.enqueue_job("submit_cell", "acme/s", "1", _job_id=f"{shard.settings.prefix}:second")
        with pytest.raises(Exception, match="QuotaExceeded"):
            await job.result(timeout=30, poll_delay=0.02)
    finally:
        await pool.aclose()
