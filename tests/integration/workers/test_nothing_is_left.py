"""Every key in Redis ends: with its session, with its worker, with its client, or by its expiry."""

import pytest

import skep
from skep_shared.broker.keys import Keys

pytestmark = [pytest.mark.anyio, pytest.mark.real_start]


@pytest.fixture
def redis_server(stoppable_server):
    """A server for one test, so that every key on it, arq's included, is this test's."""
    return stoppable_server


async def all_keys(shard):
    return {key.decode() async for key in shard._link.redis.scan_iter("*", count=1000)}


async def test_close_with_purge_leaves_no_key(shard, start_worker, eventually):
    worker = await start_worker()
    session = shard.session("s")
    await session.run("x = 1; print(x)")
    await session.run("open('f.txt', 'w').write('x' * 300_000); 1 / 0", labels={"a": "b"})
    await session.name_checkpoint("1-0", "first")
    await session.variables()
    cancelled = await session.submit("2")
    await cancelled.cancel()
    await cancelled.outcome()

    async def once_idle(operate):
        async def is_done():
            try:
                await operate()
            except skep.OperationFailed:
                return False  # the reply to the last write is still on its way to the worker
            return True

        await eventually(is_done)

    await once_idle(lambda: session.rollback("first"))
    await once_idle(session.hibernate)
    await session.run("x")
    await session.close(purge=True)

    assert not [key for key in await all_keys(shard) if ":session:" in key]
    keys = Keys(shard.settings.prefix)
    assert await shard._link.redis.exists(keys.sessions, keys.waiting, keys.owned(worker.worker_id)) == 0


async def test_keys_that_outlive_sessions_workers_and_clients_expire(shard, start_worker, eventually):
    worker = await start_worker()
    async with skep.connect(settings=shard.settings) as client:
        await client.session("s").run("1")
        await client.session("s").close(purge=True)
        assert await client._link.redis.pttl(client._link.keys.replies(client._replies.client_id)) > 0
    await shard.session("t").submit("import time; time.sleep(30)")
    await worker.kill()
    await start_worker()  # releases what the dead one had
    redis, keys = shard._link.redis, Keys(shard.settings.prefix)

    async def is_forgotten():
        return await redis.zscore(keys.workers, worker.worker_id) is None

    await eventually(is_forgotten)
    await shard.session("t").close(purge=True)
    lasting = {key for key in await all_keys(shard) if await redis.pttl(key) == -1}
    # Of the shard: what its workers share. Of the worker that lives: its index and its mailbox; of retention: how far
    # it has come.
    # An activation may still be queued: a worker that picks it finds nothing to do.
    allowed = {keys.shard, keys.workers, keys.upkeep, keys.arq_queue}
    assert not {key for key in lasting - allowed if not key.endswith(":mailbox")}
    assert not {key for key in lasting if worker.worker_id in key}


@pytest.mark.parametrize("queue", ["arq_queue", "waiting"])
async def test_a_job_or_a_waiting_session_that_does_not_exist_is_dropped(shard, start_worker, eventually, queue):
    redis, key = shard._link.redis, getattr(Keys(shard.settings.prefix), queue)
    await redis.zadd(key, {"lost": 1})
    await start_worker()

    async def is_empty():
        return not await redis.exists(key)

    await eventually(is_empty)
