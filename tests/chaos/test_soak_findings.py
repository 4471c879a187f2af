"""What the soak has found, each as one request that goes wrong."""

import asyncio
import contextlib
import json
from pathlib import Path

import pytest
import uvloop
from arq import create_pool
from arq.connections import RedisSettings
from redis.exceptions import ConnectionError as RedisConnectionError

import skep
from skep.embedded import WorkerProcess
from skep_shared.activation import pack_job, unpack_job
from skep_shared.connection import open_redis
from skep_shared.errors import StartError
from skep_shared.settings import Settings

from .proxy import PASS, Fate, Link, Ruler

pytestmark = pytest.mark.anyio


class Once(Ruler):
    """One fate for the first request of a name that has this key's end among its words."""

    def __init__(self, name, fate, key=b""):
        self.name, self.fate_of_it, self.key = name, fate, key
        self.has_happened = False

    def fate(self, link, requests):
        if self.has_happened or not any(
            request.name == self.name and any(word.endswith(self.key) for word in request.words) for request in requests
        ):
            return PASS
        self.has_happened = True
        return self.fate_of_it


@pytest.fixture
async def start_worker(redis_server, settings, tmp_path):
    """Give a function that starts a worker behind a link of this ruler; gives the worker and its log."""
    started = []

    async def start(ruler):
        link = Link("w", Path(redis_server.socket_path), ruler)
        await link.open()
        worker = WorkerProcess(
            link.url, flags=("--prefix", settings.prefix, "--log-format", "json"), log_path=tmp_path / "log"
        )
        started.append((worker, link))
        return await worker.start()

    yield start
    for worker, link in started:
        await worker.kill()
        await link.close()


@pytest.fixture
async def shard(settings):
    """A client that nothing happens to."""
    async with skep.connect(settings=Settings.load(redis_url=settings.redis_url, prefix=settings.prefix)) as cluster:
        yield cluster


@pytest.fixture
async def connect_through(redis_server, settings):
    """Give a function that connects a client through a link of this ruler."""
    async with contextlib.AsyncExitStack() as stack:

        async def connect(ruler):
            link = Link("c", Path(redis_server.socket_path), ruler)
            await link.open()
            stack.push_async_callback(link.close)
            own = Settings.load(redis_url=link.url, prefix=settings.prefix)
            return await stack.enter_async_context(skep.connect(settings=own))

        yield connect


def log_of(tmp_path):
    """Give the lines of the worker's log."""
    return (tmp_path / "log").read_text().splitlines()


async def test_a_worker_whose_first_beat_fails_says_so_in_one_line(start_worker, tmp_path):
    with pytest.raises(StartError):
        await start_worker(Once("heartbeat", Fate("reset")))

    complaints = [json.loads(line) for line in log_of(tmp_path) if "zygote" not in line]
    assert [entry["event"] for entry in complaints] == ["worker.failed"]


async def test_an_activation_whose_connection_breaks_is_tried_again(start_worker, shard, tmp_path):
    ruler = Once("hmget", Fate("reset"), b":session:s")  # where the session would rather live
    await start_worker(ruler)

    assert (await shard.session("s").run("1 + 1", wait=20)).value == 2
    assert ruler.has_happened
    assert [json.loads(line)["event"] for line in log_of(tmp_path) if '"error"' in line] == ["job.retry"]


@pytest.mark.parametrize("kind", ["reset", "drop"])
async def test_a_cell_of_a_plain_arq_job_is_submitted_though_the_connection_breaks(start_worker, shard, settings, kind):
    ruler = Once("submit", Fate(kind))
    await start_worker(ruler)
    pool = await create_pool(
        RedisSettings.from_dsn(settings.redis_url),
        default_queue_name=f"{settings.prefix}:arq",
        job_serializer=pack_job,
        job_deserializer=unpack_job,
    )
    async with contextlib.aclosing(pool):
        job = await pool.enqueue_job("submit_cell", "s", "6 * 7", _job_id=f"order-{kind}")

        assert await job.result(timeout=20) == f"order-{kind}"
    assert ruler.has_happened
    assert (await shard.cell("s", f"order-{kind}").outcome(20)).value == 42
    assert (await shard.session("s").info()).seq == 1


async def test_a_submit_succeeds_though_its_activation_meets_a_broken_connection(start_worker, connect_through):
    await start_worker(Ruler())
    ruler = Once("exists", Fate("reset"))  # arq asks whether the job is there, and watches it: redis-py's WatchError
    cluster = await connect_through(ruler)
    cell = await cluster.session("s").submit("1 + 1")

    assert ruler.has_happened
    assert (await cell.outcome(20)).value == 2


@pytest.mark.parametrize("kind", ["reset", "drop"])
async def test_a_deferred_cell_is_scheduled_or_its_submitter_is_told(start_worker, connect_through, settings, kind):
    await start_worker(Ruler())
    cluster = await connect_through(Once("exec", Fate(kind)))
    cell_id = f"later-{kind}"
    try:
        cell = await cluster.session("s").submit("6 * 7", cell_id=cell_id, defer_by=0.01)
    except skep.RedisUnavailable:
        cell = await cluster.session("s").submit("6 * 7", cell_id=cell_id, defer_by=0.01)

    assert (await cell.outcome(10)).value == 42


def test_a_transport_that_closes_just_before_a_command_is_a_connection_error(redis_server, settings):
    """uvloop says RuntimeError where asyncio says nothing, and that ended the worker."""

    async def send_on_what_has_closed():
        client = open_redis(settings)
        connection = client.connection_pool.make_connection()
        await connection.connect()
        connection._writer.transport.abort()
        while not connection._reader.at_eof():  # noqa: ASYNC110 - it closes in its own time
            await asyncio.sleep(0)
        with pytest.raises(RedisConnectionError):
            await connection.send_command("PING")
        await client.aclose()

    uvloop.run(send_on_what_has_closed())
