"""activate.lua and defer.lua: jobs that arq reads, though arq has no part in writing them."""

import time

import msgpack
import pytest
from arq.jobs import deserialize_job
from redis.crc import key_slot

from skep_shared.broker.activation import ACTIVATE_JOB, SUBMIT_JOB, pack_submit_job, unpack_job
from skep_workers.host.broker.dispatch import open_arq

pytestmark = pytest.mark.anyio

DAY_MS = 86_400_000
MOST_WAKES = 100


@pytest.fixture
async def arq(settings):
    client = open_arq(settings)
    yield client
    await client.aclose()


@pytest.fixture
def job_id(keys):
    return f"{keys.prefix}:cell:s:c"


@pytest.fixture
def defer(shard, job_id):
    """Return a function that defers the cell `1` of `s`."""

    async def call(**due):
        return await shard.scripts.defer(job_id, pack_submit_job("s", "1", {"timeout": 5}), **due)

    return call


async def test_arq_reads_an_activation_from_the_shards_own_queue(shard, arq):
    await shard.scripts.activate(["s"])

    [job] = await arq.queued_jobs()
    assert (job.function, job.args, job.kwargs, job.job_try) == (ACTIVATE_JOB, [], {"session_id": "s"}, 0)
    assert abs(job.enqueue_time.timestamp() - time.time()) < 60


async def test_each_session_has_an_activation_of_its_own(shard):
    await shard.scripts.activate(["s", "tenant/t", "x" * 200])

    assert sorted(await shard.activations()) == ["s", "tenant/t", "x" * 200]


async def test_two_activations_of_a_session_are_two_jobs(shard):
    for _ in range(2):
        await shard.scripts.activate(["s"])

    assert await shard.activations() == ["s", "s"]


async def test_an_activation_that_no_worker_picks_expires(shard, redis, keys):
    await shard.scripts.activate(["s"])

    [job_id] = await redis.zrange(keys.arq_queue, 0, -1)
    assert 0 < await redis.ttl(keys.arq_job(job_id.decode())) <= 3600


async def test_a_job_id_begins_with_the_prefix(shard, redis, keys):
    await shard.scripts.activate(["s"])

    [job_id] = await redis.zrange(keys.arq_queue, 0, -1)
    assert job_id.decode().startswith(f"{keys.prefix}:activate:s:")
    assert key_slot(b"arq:job:{p}:activate:s") == key_slot(b"{p}")


async def test_an_activation_wakes_one_worker(shard, redis, keys):
    await shard.scripts.activate(["s"])

    assert await redis.llen(keys.arq_wake) == 1


async def test_the_wake_list_is_bounded_and_ends_by_itself(shard, redis, keys):
    await shard.scripts.activate([f"s{number}" for number in range(MOST_WAKES + 5)])

    assert await redis.llen(keys.arq_wake) == MOST_WAKES
    assert await redis.ttl(keys.arq_wake) > 0


async def test_a_deferred_cell_waits_in_the_queue_with_its_options(defer, arq):
    assert await defer(by_ms=3_600_000)

    [job] = await arq.queued_jobs()
    assert (job.function, job.args, job.kwargs) == (SUBMIT_JOB, ["s", "1"], {"timeout": 5})


async def test_arqs_own_job_differs_in_its_time_only(defer, arq, job_id, keys, redis):
    await defer(by_ms=3_600_000)
    ours = unpack_job(await redis.get(keys.arq_job(job_id)))
    await arq.enqueue_job(SUBMIT_JOB, "s", "1", timeout=5, _job_id="theirs")
    theirs = unpack_job(await redis.get(keys.arq_job("theirs")))

    assert ours | {"et": 0} == theirs | {"et": 0}


@pytest.mark.parametrize("by_ms", [0, 5_000])
async def test_it_is_due_by_the_clock_of_redis(defer, redis, keys, job_id, by_ms):
    seconds, _ = await redis.time()
    await defer(by_ms=by_ms)

    assert 0 <= await redis.zscore(keys.arq_queue, job_id) - by_ms - seconds * 1000 < 60_000
    assert 0 < await redis.pttl(keys.arq_job(job_id)) - DAY_MS + 60_000 <= by_ms + 60_000


@pytest.mark.parametrize("until_ms", [1_000, 4_000_000_000_000])
async def test_it_is_due_at_the_time_that_is_asked_for_and_lives_for_a_day_after(defer, redis, keys, job_id, until_ms):
    seconds, _ = await redis.time()
    await defer(until_ms=until_ms)

    assert await redis.zscore(keys.arq_queue, job_id) == until_ms
    lives_for = max(until_ms - seconds * 1000, 0) + DAY_MS
    assert abs(await redis.pttl(keys.arq_job(job_id)) - lives_for) < 60_000


async def test_the_same_deferred_cell_is_queued_once(defer, shard):
    await defer(by_ms=3_600_000)
    before = await shard.dump()

    assert not await defer(by_ms=0)
    assert await shard.dump() == before


async def test_a_deferred_cell_is_refused_while_its_result_exists(defer, shard, redis, keys, job_id):
    await redis.set(keys.arq_result(job_id), b"result", ex=60)

    assert not await defer(by_ms=0)
    assert await shard.dump() == {}


async def test_jobs_are_stored_as_msgpack(shard, redis, keys):
    await shard.scripts.activate(["s"])

    [job_id] = await redis.zrange(keys.arq_queue, 0, -1)
    stored = await redis.get(keys.arq_job(job_id.decode()))
    assert msgpack.unpackb(stored)["f"] == ACTIVATE_JOB
    assert deserialize_job(stored, deserializer=unpack_job).function == ACTIVATE_JOB
