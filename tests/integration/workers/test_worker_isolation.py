"""A fault in one session harms that session only, never other sessions or the worker."""

import pytest

import skep

pytestmark = [pytest.mark.anyio, pytest.mark.real_start]


async def append_garbage(shard, session, body):
    """Write a cell that no client would write."""
    link, sid = shard._link, session.id
    seq = await link.redis.hincrby(link.keys.session(sid), "seq", 1)
    await link.redis.xadd(link.keys.cells(sid), {"c": f"garbage-{seq}", "b": body, "t": 1}, id=f"{seq}-0")
    await link.redis.hset(link.keys.ids(sid), f"garbage-{seq}", f"p:{seq}:")


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x01", b"\x81\xa4code\x01"], ids=["empty", "no msgpack", "no map", "no text"]
)
async def test_an_unreadable_cell_ends_as_failed_and_the_next_one_runs(shard, start_worker, body):
    worker = await start_worker()
    session = shard.session("s")
    await session.run("x = 42")
    await append_garbage(shard, session, body)
    after = await session.submit("x")

    outcome = await shard.cell("s", "garbage-2").outcome(timeout=30)
    assert (outcome.status, outcome.error.ename) == (skep.CellStatus.FAILED, "CellUnreadable")
    assert (await after.outcome()).value == 42
    assert (await session.info()).owner == worker.worker_id


async def test_a_session_with_broken_entries_does_not_affect_others(shard, start_worker):
    worker = await start_worker()
    broken, neighbour = shard.session("broken"), shard.session("neighbour")
    await neighbour.run("x = 42")
    link = shard._link
    await broken.run("1")
    await broken.hibernate()
    await link.redis.hset(link.keys.session("broken"), "options", b"\xc1")
    await broken.submit("1")

    for _ in range(20):
        assert (await neighbour.run("x")).value == 42
    assert [each.id async for each in shard.workers()] == [worker.worker_id]


async def test_an_unreadable_manifest_does_not_affect_other_sessions(shard, start_worker):
    worker = await start_worker()
    broken, neighbour = shard.session("broken"), shard.session("neighbour")
    await neighbour.run("x = 42")
    link = shard._link
    await broken.run("y = 1")
    await broken.run("y = 2")
    await broken.hibernate()
    key = link.keys.checkpoints("broken")
    [(_, first), _] = await link.redis.xrange(key)
    await link.redis.delete(key)
    await link.redis.xadd(key, first, id="1-0")
    await link.redis.xadd(key, {"m": b"\xc1"}, id="2-0")
    cell = await broken.submit("y")

    for _ in range(20):
        assert (await neighbour.run("x")).value == 42
    assert [each.id async for each in shard.workers()] == [worker.worker_id]
    assert (await cell.outcome(timeout=20)).value == 1
    damaged = [event async for event in broken.events() if getattr(event, "category", "") == "checkpoint.damaged"]
    assert "checkpoint 2-0" in damaged[0].message
