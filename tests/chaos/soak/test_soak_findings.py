"""Bugs that the soak has found, each reproduced with one request that fails."""

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
from skep.local.embedded import WorkerProcess
from skep_shared.broker.activation import pack_job, unpack_job
from skep_shared.broker.redis_client.connection import open_redis
from skep_shared.broker.script_replies import Claim
from skep_shared.errors import StartError
from skep_shared.settings import Settings

from .proxy import PASS, Fate, Link, Ruler

pytestmark = pytest.mark.anyio


class Once(Ruler):
    """One fate for the first request of a name with a key that ends like this."""

    def __init__(self, name, fate, key=b""):
        self.name, self.fate_of_it, self.key = name, fate, key
        self.has_happened = asyncio.Event()

    def fate(self, link, requests):
        if self.has_happened.is_set() or not any(
            request.name == self.name and any(word.endswith(self.key) for word in request.words) for request in requests
        ):
            return PASS
        self.has_happened.set()
        self.link = link
        return self.fate_of_it


@pytest.fixture
async def start_worker(redis_server, settings, tmp_path):
    """Yield a function that starts a worker with a link of this ruler, and returns the worker and its log."""
    started = []

    async def start(ruler, *flags):
        link = Link("w", Path(redis_server.socket_path), ruler)
        await link.open()
        common = ("--prefix", settings.prefix, "--log-format", "json")
        worker = WorkerProcess(link.url, flags=(*common, *flags), log_path=tmp_path / "log")
        started.append((worker, link))
        return await worker.start()

    yield start
    for worker, link in started:
        await worker.kill()
        await link.close()


@pytest.fixture
async def shard(settings):
    """A client without faults."""
    async with skep.connect(settings=Settings.load(redis_url=settings.redis_url, prefix=settings.prefix)) as cluster:
        yield cluster


@pytest.fixture
async def connect_through(redis_server, settings):
    """Yield a function that connects a client through a link of this ruler."""
    async with contextlib.AsyncExitStack() as stack:

        async def connect(ruler):
            link = Link("c", Path(redis_server.socket_path), ruler)
            await link.open()
            stack.push_async_callback(link.close)
            own = Settings.load(redis_url=link.url, prefix=settings.prefix)
            return await stack.enter_async_context(skep.connect(settings=own))

        yield connect


def log_of(tmp_path):
    """Return the lines of the worker's log."""
    return (tmp_path / "log").read_text().splitlines()


async def test_a_worker_whose_first_heartbeat_fails_reports_it_in_one_line(start_worker, tmp_path):
    with pytest.raises(StartError):
        await start_worker(Once("heartbeat", Fate("reset")))

    events = [json.loads(line)["event"] for line in log_of(tmp_path) if "zygote" not in line]
    assert [event for event in events if event != "sandbox.none"] == ["worker.failed"]


async def test_an_activation_whose_connection_breaks_is_tried_again(start_worker, shard, tmp_path):
    ruler = Once("hmget", Fate("reset"), b":session:s")  # the worker that placement prefers for the session
    await start_worker(ruler)

    assert (await shard.session("s").run("1 + 1", wait=20)).value == 2
    assert ruler.has_happened.is_set()
    assert [json.loads(line)["event"] for line in log_of(tmp_path) if '"error"' in line] == ["job.retry"]


@pytest.mark.parametrize("kind", ["reset", "drop"])
async def test_a_cell_of_a_plain_arq_job_is_submitted_when_the_connection_breaks(start_worker, shard, settings, kind):
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
    assert ruler.has_happened.is_set()
    assert (await shard.cell("s", f"order-{kind}").outcome(20)).value == 42
    assert (await shard.session("s").info()).seq == 1


@pytest.mark.parametrize("kind", ["reset", "drop"])
async def test_a_deferred_cell_is_scheduled_once_though_the_connection_breaks(start_worker, connect_through, kind):
    await start_worker(Ruler())
    ruler = Once("defer", Fate(kind))
    cluster = await connect_through(ruler)
    cell = await cluster.session("s").submit("6 * 7", defer_by=0.01)

    assert ruler.has_happened.is_set()
    assert (await cell.outcome(10)).value == 42
    assert (await cluster.session("s").info()).seq == 1


def test_a_transport_that_closes_just_before_a_command_is_a_connection_error(redis_server, settings):
    """uvloop raises RuntimeError where asyncio raises nothing, and that ended the worker."""

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


async def test_a_fenced_owner_does_not_report_pruned_chunks_as_damage(
    start_worker, shard, redis, scripts, keys, tmp_path
):
    ruler = Once("hmget", Fate(hold_seconds=60), b":session:s:blobs")  # the chunks to begin from
    worker = await start_worker(ruler)
    session = shard.session("s")
    await session.run("x = 1", wait=20)
    await session.hibernate()
    cell = await session.submit("x")
    await ruler.has_happened.wait()
    await redis.delete(keys.worker(worker.worker_id))  # it was stopped, and another owner has taken over and pruned
    await scripts.heartbeat("another", 60_000, b"", patience_ms=1000)
    claim = await scripts.claim("s", "another", "its token")
    assert isinstance(claim, Claim)
    await redis.delete(keys.blobs("s"))
    ruler.link.heal()

    def has_said(event):
        return any(json.loads(line)["event"] == event for line in log_of(tmp_path))

    while not has_said("session.fenced"):  # noqa: ASYNC110 - a file sends no signal
        await asyncio.sleep(0.02)
    assert not has_said("checkpoint.damaged")
    assert (await session.info()).cursor == cell.seq - 1


async def test_a_drain_past_its_grace_waits_for_the_checkpoint_of_a_cell_that_has_ended(start_worker, shard):
    ruler = Once("blobs", Fate(hold_seconds=1.0))
    worker = await start_worker(ruler, "--grace-seconds", "0")
    large = "import os; x = os.urandom(300_000)"  # more than rides in the commit
    ended, running = await shard.session("s").submit_many([large, "import time; time.sleep(3600)"])
    await ruler.has_happened.wait()
    assert await worker.stop() == 0

    kinds = [(event.kind, event.cell_id) async for event in shard.session("s").events() if "cell" in event.kind]
    assert ("cell.finished", ended.id) in kinds
    assert ("cell.retried", ended.id) not in kinds
    assert ("cell.finished", running.id) not in kinds  # the next owner's, as another attempt


async def test_a_drain_releases_a_session_whose_claim_was_on_its_way(start_worker, shard):
    ruler = Once("claim", Fate(hold_seconds=1.0))
    worker = await start_worker(ruler)
    await shard.session("s").submit("1")
    await ruler.has_happened.wait()

    assert await worker.stop() == 0
    info = await shard.session("s").info()
    assert (info.owner, info.epoch, info.pending) == (None, 1, 1)


class Unanswered(Ruler):
    """Requests of these names get no answer."""

    def __init__(self, *names):
        self.names = names
        self.has_happened = asyncio.Event()

    def fate(self, link, requests):
        if not any(request.name in self.names for request in requests):
            return PASS
        self.has_happened.set()
        return Fate(hold_seconds=3600)


async def test_a_worker_ends_while_redis_hangs_during_its_look_at_a_job(start_worker, shard):
    """The driver, cancelled after a WATCH, sends UNWATCH, and raises its timeout instead of the cancellation."""
    ruler = Unanswered("exists", "unwatch")
    worker = await start_worker(ruler, "--command-timeout-seconds", "0.5")
    await shard.session("s").submit("1")
    await ruler.has_happened.wait()

    assert await worker.stop() == 0


class SlowHandshakes(Ruler):
    """Once switched on, new connections are slow."""

    is_slow = False

    def fate(self, link, requests):
        self.link = link
        is_handshake = any(request.name in {"client", "hello"} for request in requests)
        return Fate(hold_seconds=0.3) if self.is_slow and is_handshake else PASS


async def test_each_hibernate_is_answered_even_if_the_answers_need_new_connections(start_worker, shard):
    """The residency had ended before its answer was sent, so it was never sent: the caller waited until its deadline."""
    ruler = SlowHandshakes()
    await start_worker(
        ruler, "--lease-seconds", "30"
    )  # on a busy machine it may lapse, and then no session has an owner
    sessions = [shard.session(f"s{number}") for number in range(8)]
    await asyncio.gather(*(session.run("x = 1", wait=20) for session in sessions))
    ruler.link.reset()
    assert (await sessions[0].run("x", wait=20)).value == 1  # the shared connection works again
    ruler.is_slow = True
    await asyncio.gather(*(session.hibernate() for session in sessions))
    ruler.is_slow = False

    assert [(await session.info()).owner for session in sessions] == [None] * 8
