"""What a program other than skep writes to a session's keys concerns that session: its worker and the others go on."""

import secrets

import msgpack
import pytest

from skep_shared.broker.client_scripts import ClientScripts
from skep_shared.broker.keys import Keys
from skep_shared.broker.redis_client.connection import open_redis
from skep_shared.errors import OperationFailed
from skep_shared.models import CellSpec
from skep_shared.settings import Settings

pytestmark = pytest.mark.anyio

CELL = CellSpec(code="1").pack()


@pytest.fixture
async def writer(cluster):
    """Writes to the cluster's Redis as another program would."""
    settings = Settings.load(redis_url=cluster.redis_url)
    redis = open_redis(settings)
    yield Writer(redis, Keys(settings.prefix))
    await redis.aclose()


class Writer:
    """The keys of one session that no worker has yet."""

    def __init__(self, redis, keys):
        self.redis, self.keys, self.scripts = redis, keys, ClientScripts(redis, keys)
        self.sid = f"foreign-{secrets.token_hex(4)}"

    async def hash(self, **fields):
        await self.redis.hset(self.keys.session(self.sid), mapping=fields)

    async def submit(self, options=b""):
        await self.scripts.submit(self.sid, [("c1", CELL)], max_pending=10, options=options)

    async def to_mailboxes(self, **fields):
        for worker_id in await self.redis.zrange(self.keys.workers, 0, -1):
            await self.redis.xadd(self.keys.mailbox(worker_id.decode()), fields)


async def write_unreadable_requests(writer):
    await writer.hash(requests="one:interrupt")
    await writer.submit()


async def write_unreadable_numbers(writer):
    await writer.submit()
    await writer.hash(seq="many", epoch="", created_at="yesterday", said="1:x")


async def write_unreadable_options(writer):
    await writer.submit(msgpack.packb({"durability": 1}))


async def write_another_type(writer):
    await writer.redis.set(writer.keys.session(writer.sid), "text")
    await writer.redis.zadd(writer.keys.waiting, {writer.sid: 1})


async def write_events_ahead(writer):
    await writer.submit()
    await writer.redis.xadd(writer.keys.events(writer.sid), {"e": b"\x80"}, id="1000-0")


async def write_names_that_are_no_ids(writer):
    for name in (b"../../x", b"\xff", b"a/b/c"):
        await writer.redis.zadd(writer.keys.waiting, {name: 1})
        await writer.redis.zadd(writer.keys.sessions, {name: 1})


async def write_entries_without_times(writer):
    await writer.to_mailboxes(k="cell", s=writer.sid, q="1", c="c1", b=CELL, t="inf")
    await writer.to_mailboxes(k="operate", s=writer.sid, q="0", c="x", o="o1", m="complete", p=b"", d="nan")
    await writer.to_mailboxes(k="activate", s="../../x")


async def write_an_unreadable_worker(writer):
    await writer.redis.hset(writer.keys.worker("foreign"), "facts", b"\xc1")
    await writer.redis.pexpire(writer.keys.worker("foreign"), 60_000)
    seconds, _ = await writer.redis.time()
    await writer.redis.zadd(writer.keys.workers, {"foreign": seconds * 1000})
    await writer.submit(msgpack.packb({"requires": {"gpu": "1"}}))


@pytest.mark.parametrize(
    "write",
    [
        write_unreadable_requests,
        write_unreadable_numbers,
        write_unreadable_options,
        write_another_type,
        write_events_ahead,
        write_names_that_are_no_ids,
        write_entries_without_times,
        write_an_unreadable_worker,
    ],
)
async def test_workers_and_other_sessions_go_on(cluster, session, writer, write):
    """Several of these ended the worker, then the one that took over, and so on."""
    before = [process.pid for process in cluster.worker_processes]
    await session.run("x = 1")

    await write(writer)
    # Each worker has to have read it: both send a heartbeat, and look for sessions that wait, meanwhile.
    for number in range(4):
        other = cluster.session(f"{session.id}-{number}")
        await writer.to_mailboxes(k="activate", s=writer.sid)
        assert (await other.run(f"{number}")).value == number
        assert (await session.run("x")).value == 1

    assert [process.pid for process in cluster.worker_processes] == before
    await writer.redis.zrem(writer.keys.waiting, writer.sid, b"../../x", b"\xff", b"a/b/c")
    await writer.redis.delete(writer.keys.session(writer.sid), writer.keys.events(writer.sid))


async def test_an_entry_that_is_no_cell_fails_and_the_next_cell_runs(cluster, writer):
    session = cluster.session(writer.sid)
    await writer.scripts.open(writer.sid, b"")
    await writer.hash(seq=1)
    await writer.redis.hset(writer.keys.ids(writer.sid), "broken", "p:1:")
    await writer.redis.xadd(writer.keys.cells(writer.sid), {"c": "broken", "t": "0"}, id="1-0")

    assert (await session.run("40 + 2")).value == 42
    outcome = await session.cell("broken").outcome()
    assert (outcome.status, outcome.error.ename) == ("failed", "CellUnreadable")


async def test_a_checkpoint_that_can_not_be_read_is_a_typed_error_for_clients(session, cluster, writer):
    await session.run("x = 1")
    await writer.redis.xadd(writer.keys.checkpoints(session.id), {"m": b"\x81\xa5blobs\x90"}, id="1-7")

    with pytest.raises(OperationFailed, match="checkpoint 1-7 can't be read"):
        [_ async for _ in session.checkpoints()]
    await writer.redis.xadd(writer.keys.checkpoints(session.id), {"m": b"\xff"}, id="1-8")
    with pytest.raises(OperationFailed, match="checkpoint 1-8 can't be read"):
        await session.fork(f"{session.id}-fork", at="1-8")
