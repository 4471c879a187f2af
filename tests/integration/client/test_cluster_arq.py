"""A service that has arq already: cells as plain arq jobs."""

import pytest
from arq import create_pool
from arq.connections import RedisSettings

from skep_shared.broker.activation import pack_job, unpack_job

pytestmark = pytest.mark.anyio

COUNT = "n = globals().get('n', 0) + 1\nn"


@pytest.fixture
async def pool(cluster):
    """What such a service has: arq's own pool, on our queue and with our serializer."""
    path = cluster.redis_url.removeprefix("unix://").partition("?")[0]
    pool = await create_pool(
        RedisSettings(unix_socket_path=path),
        job_serializer=pack_job,
        job_deserializer=unpack_job,
        default_queue_name=f"{cluster.settings.prefix}:arq",
    )
    yield pool
    await pool.aclose()


async def test_the_job_s_result_is_the_cell_s_id(cluster, session, pool):
    job = await pool.enqueue_job("submit_cell", session.id, "6 * 7", _job_id=f"{session.id}/answer")

    assert await job.result(timeout=30, poll_delay=0.02) == f"{session.id}/answer"
    assert (await cluster.cell(session.id, f"{session.id}/answer").outcome()).value == 42


async def test_a_job_without_an_id_is_a_cell_too(cluster, session, pool):
    job = await pool.enqueue_job("submit_cell", session.id, "6 * 7")

    assert (await cluster.cell(session.id, await job.result(timeout=30, poll_delay=0.02)).outcome()).value == 42


async def test_options_of_the_cell_are_keywords_of_the_job(cluster, session, pool):
    job = await pool.enqueue_job(
        "submit_cell", session.id, "x", cell_id="mine", inputs={"x": [1, "a"]}, labels={"k": "v"}, timeout=5
    )

    assert await job.result(timeout=30, poll_delay=0.02) == "mine"
    assert (await cluster.cell(session.id, "mine").outcome()).value == [1, "a"]


async def test_the_same_job_id_twice_is_one_job(session, pool):
    job_id = f"{session.id}/twin"
    first = await pool.enqueue_job("submit_cell", session.id, COUNT, _job_id=job_id)
    assert await pool.enqueue_job("submit_cell", session.id, COUNT, _job_id=job_id) is None
    await first.result(timeout=30, poll_delay=0.02)

    assert (await session.run(COUNT)).value == 2


async def test_a_job_that_runs_again_is_the_same_cell(session, pool):
    job_id = f"{session.id}/again"
    for _ in range(2):
        job = await pool.enqueue_job("submit_cell", session.id, COUNT, _job_id=job_id)
        assert await job.result(timeout=30, poll_delay=0.02) == job_id
        await pool.delete(f"arq:result:{job_id}")  # as when arq has forgotten it

    assert (await session.run(COUNT)).value == 2


async def test_a_deferred_job_is_a_cell_after_those_that_came_meanwhile(cluster, session, pool):
    job = await pool.enqueue_job("submit_cell", session.id, COUNT, _defer_by=1.0)
    assert (await session.run(COUNT)).value == 1

    outcome = await cluster.cell(session.id, await job.result(timeout=30, poll_delay=0.02)).outcome()
    assert (outcome.seq, outcome.value) == (2, 2)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (["", "1"], {}, "session_id"),
        (["s", "1"], {"bogus": 1}, "bogus"),
        (["s", "1"], {"timeout": -1}, "timeout"),
        (["s", 1], {}, "code"),
    ],
)
async def test_a_job_with_a_bad_argument_fails_with_its_name(cluster, pool, arguments, options, words):
    job = await pool.enqueue_job("submit_cell", *arguments, **options)

    with pytest.raises(Exception, match="InvalidArgument") as caught:
        await job.result(timeout=30, poll_delay=0.02)
    assert words in str(caught.value)
