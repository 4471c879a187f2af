"""Retention on a real Redis: rounds through the sessions, what they remove and what they keep."""

import asyncio

import pytest

import skep
from skep_shared.broker.keys import Keys
from skep_shared.broker.script_replies import CellCommit, Claim
from skep_shared.broker.scripts import Scripts
from skep_shared.event_codec import pack_event
from skep_shared.settings import WorkerSettings
from skep_workers.host.broker.dispatch import open_arq
from skep_workers.host.maintenance import sessions as session_upkeep
from skep_workers.host.maintenance.sessions import SessionUpkeep

pytestmark = pytest.mark.anyio

DAY = 86_400.0
WORKER = "w1"


@pytest.fixture
def upkeep(redis, keys, settings):
    """Return a function that creates the upkeep with these settings."""

    def make(**bounds):
        changed = WorkerSettings.load(redis_url=settings.redis_url, prefix=settings.prefix, **bounds)
        return SessionUpkeep(redis, Scripts(redis, keys), changed)

    return make


@pytest.fixture
def age(redis):
    """Return a function that returns the time this many days ago, in Redis's milliseconds."""

    async def time_before(days):
        seconds, micros = await redis.time()
        return seconds * 1000 + micros / 1000 - days * DAY * 1000

    return time_before


@pytest.fixture
async def make_session(redis, keys, age):
    """Return a function that creates a session whose cells are done, each with three events of this age in days."""
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
                # Submitted long before, which says nothing about when it was written.
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
    """Return a function that reads the numbers of a session's events."""

    async def read(sid):
        return [int(entry_id.partition(b"-")[0]) for entry_id, _ in await redis.xrange(keys.events(sid))]

    return read


@pytest.fixture
async def client(redis_server, keys):
    settings = skep.Settings.load(redis_url=redis_server.url, prefix=keys.prefix)
    async with skep.connect(settings=settings) as cluster:
        yield cluster


async def test_the_latest_events_are_kept(upkeep, make_session, numbers, client):
    await make_session("s", [0] * 5)
    await make_session("small", [0] * 2)

    assert await upkeep(keep_events=7).run() == 2

    assert await numbers("s") == [9, 10, 11, 12, 13, 14, 15]
    assert (await client.session("s").info()).floor == 9
    assert await numbers("small") == [1, 2, 3, 4, 5, 6]


async def test_events_are_removed_in_pages(upkeep, make_session, numbers, monkeypatch):
    monkeypatch.setattr(session_upkeep, "TRIM_PAGE_EVENTS", 2)
    await make_session("s", [0] * 5)

    await upkeep(keep_events=1).run()

    assert await numbers("s") == [13, 14, 15]


async def test_events_of_a_cell_that_has_not_committed_are_kept(upkeep, make_session, numbers):
    await make_session("s", [0] * 2, pending=["p"])

    await upkeep(keep_events=1).run()

    assert await numbers("s") == [4, 5, 6]


async def test_events_above_an_age_are_removed(upkeep, make_session, numbers):
    await make_session("s", [9, 8, 7, 2, 1])

    await upkeep(keep_events_days=5).run()
    assert await numbers("s") == list(range(10, 16))
    await upkeep(keep_events_days=0.5).run()  # the last committed cell is kept, whatever its age
    assert await numbers("s") == [13, 14, 15]


async def test_young_events_of_cells_that_waited_long_are_kept(upkeep, make_session, numbers):
    await make_session("s", [3] * 7)

    await upkeep(keep_events_days=5).run()

    assert len(await numbers("s")) == 21


async def test_the_latest_cell_ids_are_kept(upkeep, make_session, redis, keys, monkeypatch):
    monkeypatch.setattr(session_upkeep, "PAGE_IDS", 50)
    await make_session("s", [0] * 700, pending=["p"])  # more than one page

    await upkeep(keep_cell_ids=10).run()

    assert set(await redis.hkeys(keys.ids("s"))) == {b"p", *(f"c{number}".encode() for number in range(691, 701))}


async def test_closed_sessions_are_purged_after_keep_closed_days(upkeep, make_session, redis, keys):
    await make_session("old", [40, 31], closed=True)
    await make_session("young", [40, 29], closed=True)
    await make_session("open", [40, 31])

    await upkeep(keep_closed_days=0).run()
    assert await redis.zcard(keys.sessions) == 3
    await upkeep().run()

    assert set(await redis.zrange(keys.sessions, 0, -1)) == {b"young", b"open"}
    assert not await redis.exists(keys.session("old"), keys.events("old"), keys.ids("old"))


async def test_idle_sessions_are_purged_if_so_configured(upkeep, make_session, redis, keys):
    await make_session("idle", [3])
    await make_session("used", [1])
    await make_session("pending", [3], pending=["p"])

    await upkeep().run()
    assert await redis.zcard(keys.sessions) == 3
    await upkeep(keep_idle_days=2).run()

    assert set(await redis.zrange(keys.sessions, 0, -1)) == {b"used", b"pending"}
    assert not [key async for key in redis.scan_iter(f"{keys.session('idle')}*")]


async def test_a_round_continues_where_the_last_one_stopped(upkeep, make_session, redis, keys):
    """The position is in Redis, so any worker can continue."""
    for number in range(300):
        await make_session(f"s{number}", [9], closed=True)

    looked_at = [await upkeep(keep_closed_days=5, upkeep_sessions=100).run() for _ in range(6)]

    assert await redis.zcard(keys.sessions) == 0
    assert max(looked_at) < 150  # ZSCAN returns whole buckets
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


async def test_a_session_whose_upkeep_fails_does_not_delay_others(upkeep, make_session, redis, keys):
    await make_session("bad", [0] * 3)
    await redis.delete(keys.events("bad"))
    await redis.set(keys.events("bad"), "no stream")
    await make_session("old", [40], closed=True)

    await upkeep(keep_events=1).run()

    assert await redis.zrange(keys.sessions, 0, -1) == [b"bad"]
    assert await redis.get(keys.upkeep) == b"0"


async def test_foreign_entries_in_a_stream_do_not_stop_the_upkeep(upkeep, make_session, redis, keys):
    await make_session("s", [40], closed=True)
    await redis.delete(keys.events("s"))
    await redis.xadd(keys.events("s"), {"x": "y"}, id="4-0")

    await upkeep().run()

    assert await redis.zcard(keys.sessions) == 1


async def test_a_worker_does_the_upkeep_in_its_cron_job(start_worker, shard, eventually):
    scripts, redis = shard._link.scripts, shard._link.redis
    await scripts.submit("s", [("c", b"x")], max_pending=1)
    await redis.hset(shard._link.keys.session("s"), mapping={"cursor": 1, "active_at": 1})
    await redis.delete(shard._link.keys.waiting, shard._link.keys.arq_queue)
    await start_worker("--keep-idle-days", "1")
    job = f"{shard.settings.prefix}:upkeep"
    arq = open_arq(shard.settings)
    await arq.enqueue_job(job, _job_id=job)
    await arq.aclose()

    async def is_gone():
        return not await redis.zcard(Keys(shard.settings.prefix).sessions)

    await eventually(is_gone)


async def test_a_session_whose_hash_is_foreign_does_not_stop_the_upkeep_of_others(upkeep, make_session, redis, keys):
    """No later session of the shard was ever looked at, and none of the page either."""
    await make_session("foreign", [0])
    await redis.hset(keys.session("foreign"), "floor", "first")
    await make_session("old", [40], closed=True)
    await redis.zadd(keys.sessions, {b"\xff": 1, "../../x": 2})

    await upkeep().run()

    assert set(await redis.zrange(keys.sessions, 0, -1)) == {b"foreign", b"\xff", b"../../x"}
    assert await redis.get(keys.upkeep) == b"0"


async def expire_in(redis, keys, sid, seconds):
    """Set the option of a session."""
    await redis.hset(keys.session(sid), "options", skep.SessionOptions(expires_in=seconds).pack())


async def states(redis, keys, *sids):
    return [(await redis.hget(keys.session(sid), "state")).decode() for sid in sids]


async def test_sessions_are_closed_by_their_own_option_and_not_purged(upkeep, make_session, redis, keys):
    await make_session("unused", [2])
    await make_session("used", [0.5])
    await make_session("endless", [900])
    await make_session("busy", [2], pending=["p"])
    for sid in ("unused", "used", "busy"):
        await expire_in(redis, keys, sid, DAY)

    await upkeep().run()
    await upkeep().run()

    assert await states(redis, keys, "unused", "used", "endless", "busy") == ["closed", "open", "open", "open"]


async def test_the_owner_of_an_unused_session_closes_it(upkeep, shard, start_worker):
    await start_worker()
    session = shard.session("s", options=skep.SessionOptions(expires_in=1))
    await session.run("x = 1")
    redis, keys = shard._link.redis, shard._link.keys
    await redis.hset(keys.session("s"), "active_at", 1)
    changed = WorkerSettings.load(redis_url=shard.settings.redis_url, prefix=shard.settings.prefix)
    await SessionUpkeep(redis, Scripts(redis, keys), changed).run()

    kinds = [event.kind async for event in session.events(follow=True)]  # until it is closed
    assert kinds[-1] == "session.closed"
    with pytest.raises(skep.SessionClosed):
        await session.run("x")


async def test_a_session_that_gets_a_cell_while_it_expires_is_closed_or_runs_it(upkeep, shard, start_worker):
    """Either the cell was first, and the session remains open, or it was refused: no accepted cell is lost."""
    await start_worker()
    redis, keys = shard._link.redis, shard._link.keys
    changed = WorkerSettings.load(redis_url=shard.settings.redis_url, prefix=shard.settings.prefix)
    sessions = [shard.session(f"s{n}", options=skep.SessionOptions(expires_in=1)) for n in range(20)]
    for session in sessions:
        await session.files._create()
        await redis.hset(keys.session(session.id), "active_at", 1)

    async def submit(session):
        try:
            return await session.submit("6 * 7")
        except skep.SessionClosed:
            return None

    *cells, _ = await asyncio.gather(
        *map(submit, sessions[:10]), SessionUpkeep(redis, Scripts(redis, keys), changed).run(), return_exceptions=False
    )
    cells += [await submit(session) for session in sessions[10:]]

    for session, cell in zip(sessions, [*cells[:10], *cells[10:]], strict=True):
        if cell is None:
            assert (await session.info()).state is skep.SessionState.CLOSED
        else:
            assert (await cell.outcome()).value == 42


async def test_the_option_survives_a_rollback_and_a_fork_has_it(shard, start_worker):
    await start_worker()
    session = shard.session("s", options=skep.SessionOptions(expires_in=50))
    await session.run("x = 1")
    await session.run("x = 2")
    await session.rollback("1-0")
    fork = await session.fork("f")

    assert [(await each.info()).expires_in for each in (session, fork)] == [50, 50]
