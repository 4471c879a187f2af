"""arq as both sides know it: jobs as msgpack, activations that never collide, a wake list that stays short."""

import msgpack
import pytest

from skep_shared.activation import (
    ACTIVATE_JOB,
    SUBMIT_JOB,
    WAKE_LIST_LENGTH,
    enqueue_activation,
    enqueue_cell,
    open_arq,
    pack_job,
    unpack_job,
    wake_workers,
)
from skep_shared.settings import Settings


@pytest.fixture
async def arq(settings):
    client = open_arq(settings)
    yield client
    await client.aclose()


@pytest.mark.parametrize("job", [{}, {"f": "activate", "a": ["s"], "k": {"x": None, "y": b"\0"}, 1: 2.5}])
def test_a_job_comes_back_as_it_went(job):
    assert unpack_job(pack_job(job)) == job


def test_an_exception_in_a_result_travels_as_its_text():
    assert unpack_job(pack_job({"r": ValueError("bad")})) == {"r": "ValueError('bad')"}


@pytest.mark.anyio
async def test_an_activation_is_queued_on_the_shards_own_queue(arq, keys):
    await enqueue_activation(arq, keys, "s")

    [job] = await arq.queued_jobs()
    assert (job.function, job.args) == (ACTIVATE_JOB, ["s"])
    assert await arq.zcard(keys.arq_queue) == 1


@pytest.mark.anyio
async def test_two_activations_of_a_session_are_two_jobs(arq, keys):
    for _ in range(2):
        await enqueue_activation(arq, keys, "s")

    assert len(await arq.queued_jobs()) == 2


@pytest.mark.anyio
async def test_a_scheduled_cell_waits_in_the_queue_with_its_options(arq, keys):
    assert await enqueue_cell(arq, keys, ("s", "1", {"timeout": 5}), job_id=f"{keys.prefix}:a", defer_by=3600)

    [job] = await arq.queued_jobs()
    assert (job.function, job.args, job.kwargs) == (SUBMIT_JOB, ["s", "1"], {"timeout": 5})


@pytest.mark.anyio
async def test_the_same_scheduled_cell_is_taken_once(arq, keys):
    job_id = f"{keys.prefix}:a"
    await enqueue_cell(arq, keys, ("s", "1", {}), job_id=job_id, defer_by=3600)

    assert not await enqueue_cell(arq, keys, ("s", "1", {}), job_id=job_id, defer_by=3600)
    assert len(await arq.queued_jobs()) == 1


@pytest.mark.anyio
async def test_jobs_are_stored_as_msgpack(arq, keys):
    await enqueue_activation(arq, keys, "s")
    [job] = await arq.queued_jobs()

    stored = await arq.get(f"arq:job:{job.job_id}")
    assert msgpack.unpackb(stored)["f"] == ACTIVATE_JOB


@pytest.mark.anyio
async def test_whoever_enqueues_wakes_the_workers(arq, keys):
    await enqueue_activation(arq, keys, "s")

    assert await arq.llen(keys.arq_wake) == 1


@pytest.mark.anyio
async def test_the_wake_list_is_bounded_and_ends_by_itself(arq, keys):
    for _ in range(WAKE_LIST_LENGTH + 5):
        await wake_workers(arq, keys)

    assert await arq.llen(keys.arq_wake) == WAKE_LIST_LENGTH
    assert await arq.ttl(keys.arq_wake) > 0


@pytest.mark.anyio
async def test_waking_never_fails_for_want_of_a_server(keys, tmp_path):
    """The worker's own poll comes half a second later; what was enqueued before must not seem to have failed."""
    client = open_arq(Settings.load(redis_url=f"unix://{tmp_path}/no.sock"))

    await wake_workers(client, keys)
    await client.aclose()
