"""Retention on a real Redis: rounds through the sessions, what they remove and what they leave."""

import asyncio

import pytest

import skep
from skep_shared.event_codec import pack_event
from skep_shared.keys import Keys
from skep_shared.script_replies import CellCommit, Claim
from skep_shared.scripts import Scripts
from skep_shared.settings import WorkerSettings
from skep_workers.host import session_upkeep
from skep_workers.host.session_upkeep import SessionUpkeep

pytestmark = pytest.mark.anyio

DAY = 86_400.0
WORKER = "w1"


@pytest.fixture
def upkeep(redis, keys, settings):
    """Give a function that makes the upkeep under these settings."""

    def make(**bounds):
        changed = WorkerSettings.load(redis_url=settings.redis_url, prefix=settings.prefix, **bounds)
        return SessionUpkeep(redis, Scripts(redis, keys), changed)

    return make


@pytest.fixture
def age(redis):
    """Give a function that tells the time so many days ago, in Redis' milliseconds."""

    async def tell(days):
        seconds, micros = await redis.time()
        return seconds * 1000 + micros / 1000 - days * DAY * 1000

    return tell


@pytest.fixture
async def make_session(redis, keys, age):
    """Give a function that makes a session whose cells are done, each with three events of that age in days."""
    scripts = Scripts(redis, keys)
    await scripts.heartbeat(WORKER, 600_000, b"facts", patience_ms=600_000)

    async def make(sid, ages, *, closed=False, pending=()):
        names = [f"c{number}" for number in range(1, len(ages) + 1)]
        await scripts.submit(sid, [(name, b"x") for name in (*names, *pending)], max_pending=10_000)
        claim = await scripts.claim(sid, WORKER, "token")
        assert isinstance(claim, Claim)
        for number, (name, days) in enumerate(zip(names, ages, strict=True), start=1):
            of_cell = {"cell_id": name, "seq": number, "attempt": 1, "epoch": 1, "at": await age(days)}
            end = {"status": "finished", "queued_ms": 0.0, "run_ms": 0.0, "commit_ms": 0.0}
            events = (
                # Submitted long before: that says nothing of when it was written.
                pack_event(of_cell | {"kind": "cell.queued", "code": "x", "at": await age(400)}),
                pack_event(of_cell | {"kind": "cell.started"}),
                pack_event(of_cell | {"kind": "cell.finished"} | end),
            )
            await scripts.commit(
                claim, cursor=number - 1, first_event=3 * number - 2, cells=[CellCommit(name, 3 * number - 2, events)],
                reply_ttl_ms=10_000,
            )  # fmt: skip
        closing = pack_event({"kind": "session.closed", "epoch": 1, "at": await age(ages[-1])}) if closed else b""
        if not pending:
            await scripts.release(claim, WORKER, closing_event=closing, first_event=3 * len(ages) + 1)
        await redis.hset(keys.session(sid), "active_at", int(await age(ages[-1])))

    return make


@pytest.fixture
def numbers(redis, keys):
    """Give a function that reads the numbers of a session's events."""

    async def read(sid):
        return [int(entry_id.partition(b"-")[0]) for entry_id, _ in await redis.xrange(keys.events(sid))]

    return read


@pytest.fixture
async def client(redis_server, keys):
    settings = skep.Settings.load(redis_url=redis_server.url, prefix=keys.prefix)
    async with skep.connect(settings=settings) as cluster:
        yield cluster


async def test_of_events_the_latest_are_kept(upkeep, make_session, numbers, client):
    await make_session("s", [0] * 5)
    await make_session("small", [0] * 2)

    assert await upkeep(keep_events=7).run() == 2

    assert await numbers("s") == [9, 10, 11, 12, 13, 14, 15]
    assert (await client.session("s").info()).floor == 9
    assert await numbers("small") == [1, 2, 3, 4, 5, 6]


async def test_events_go_in_pages(upkeep, make_session, numbers, monkeypatch):
    monkeypatch.setattr(session_upkeep, "TRIM_PAGE_EVENTS", 2)
    await make_session("s", [0] * 5)

    await upkeep(keep_events=1).run()

    assert await numbers("s") == [13, 14, 15]


async def test_events_of_a_cell_that_has_not_committed_stay(upkeep, make_session, numbers):
    await make_session("s", [0] * 2, pending=["p"])

    await upkeep(keep_events=1).run()

    assert await numbers("s") == [4, 5, 6]


async def test_events_above_an_age_go(upkeep, make_session, numbers):
    await make_session("s", [9, 8, 7, 2, 1])

    await upkeep(keep_events_days=5).run()
    assert await numbers("s") == list(range(10, 16))
    await upkeep(keep_events_days=0.5).run()  # the last committed cell is kept, whatever its age
    assert await numbers("s") == [13, 14, 15]


async def test_young_events_stay_though_their_cells_waited_for_long(upkeep, make_session, numbers):
    await make_session("s", [3] * 7)

    await upkeep(keep_events_days=5).run()

    assert len(await numbers("s")) == 21


async def test_of_cell_ids_the_latest_are_known(upkeep, make_session, redis, keys, monkeypatch):
    monkeypatch.setattr(session_upkeep, "PAGE_IDS", 50)
    await make_session("s", [0] * 700, pending=["p"])  # more than one page

    await upkeep(keep_cell_ids=10).run()

    assert set(await redis.hkeys(keys.ids("s"))) == {b"p", *(f"c{number}".encode() for number in range(691, 701))}


async def test_closed_sessions_are_purged_when_their_time_has_come(upkeep, make_session, redis, keys):
    await make_session("old", [40, 31], closed=True)
    await make_session("young", [40, 29], closed=True)
    await make_session("open", [40, 31])

    await upkeep(keep_closed_days=0).run()
    assert await redis.zcard(keys.sessions) == 3
    await upkeep().run()

    assert set(await redis.zrange(keys.sessions, 0, -1)) == {b"young", b"open"}
    assert not await redis.exists(keys.session("old"), keys.events("old"), keys.ids("old"))


async def test_idle_sessions_are_purged_where_that_is_wanted(upkeep, make_session, redis, keys):
    await make_session("idle", [3])
    await make_session("used", [1])
    await make_session("pending", [3], pending=["p"])

    await upkeep().run()
    assert await redis.zcard(keys.sessions) == 3
    await upkeep(keep_idle_days=2).run()

    assert set(await redis.zrange(keys.sessions, 0, -1)) == {b"used", b"pending"}
    assert not [key async for key in redis.scan_iter(f"{keys.session('idle')}*")]


async def test_a_round_goes_on_where_the_last_one_stopped(upkeep, make_session, redis, keys):
    """On any worker: the place is in Redis."""
    for number in range(300):
        await make_session(f"s{number}", [9], closed=True)

    looked_at = [await upkeep(keep_closed_days=5, upkeep_sessions=100).run() for _ in range(6)]

    assert await redis.zcard(keys.sessions) == 0
    assert max(looked_at) < 150  # ZSCAN gives whole buckets
    assert sum(looked_at) >= 300


async def test_two_workers_at_the_same_page_do_no_harm(upkeep, make_session, redis, keys, numbers):
    for number in range(20):
        await make_session(f"closed{number}", [9], closed=True)
        await make_session(f"idle{number}", [9])
        await make_session(f"long{number}", [0] * 4)
    bounds = {"keep_closed_days": 5, "keep_idle_days": 5, "keep_events": 5}

    await asyncio.gather(*(upkeep(**bounds).run() for _ in range(3)))

    left = sorted(name.decode() for name in await redis.zrange(keys.sessions, 0, -1))
    assert left == sorted(f"long{number}" for number in range(20))
    assert all([await numbers(name) == [8, 9, 10, 11, 12] for name in left])


async def test_a_session_that_can_not_be_looked_after_holds_up_nobody(upkeep, make_session, redis, keys):
    await make_session("bad", [0] * 3)
    await redis.delete(keys.events("bad"))
    await redis.set(keys.events("bad"), "no stream")
    await make_session("old", [40], closed=True)

    await upkeep(keep_events=1).run()

    assert await redis.zrange(keys.sessions, 0, -1) == [b"bad"]
    assert await redis.get(keys.upkeep) == b"0"


async def test_what_is_not_of_ours_in_a_stream_ends_nothing(upkeep, make_session, redis, keys):
    await make_session("s", [40], closed=True)
    await redis.delete(keys.events("s"))
    await redis.xadd(keys.events("s"), {"x": "y"}, id="4-0")

    await upkeep().run()

    assert await redis.zcard(keys.sessions) == 1


async def test_a_worker_does_it_when_its_cron_job_comes(start_worker, shard, eventually):
    scripts, redis = shard._link.scripts, shard._link.redis
    await scripts.submit("s", [("c", b"x")], max_pending=1)
    await redis.hset(shard._link.keys.session("s"), mapping={"cursor": 1, "active_at": 1})
    await redis.delete(shard._link.keys.waiting)
    await start_worker("--keep-idle-days", "1")
    job = f"{shard.settings.prefix}:upkeep"
    await shard._link.arq.enqueue_job(job, _job_id=job)

    async def is_gone():
        return not await redis.zcard(Keys(shard.settings.prefix).sessions)

    await eventually(is_gone)
