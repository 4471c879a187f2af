"""One hash seed for all sessions of a shard: keys that were hashed before a restore are found after it."""

import pytest

import skep

pytestmark = [pytest.mark.anyio, pytest.mark.real_start]

MAKE = """
class Key:
    def __init__(self, *parts): self.parts, self._hash = parts, None
    def __hash__(self):
        if self._hash is None: self._hash = hash(self.parts)
        return self._hash
    def __eq__(self, other): return self.parts == other.parts
table = {Key("a", "b"): 1}
seen = {hash("url"): "page"}
"""
USE = "(Key('a', 'b') in table, seen.get(hash('url')))"
RIGHT = (True, "page")
HASH_OF_CHILD = """
import subprocess, sys
def child_hash(**more):
    command = [sys.executable, "-c", "print(hash('text'))"]
    return int(subprocess.run(command, capture_output=True, check=True, env={**os.environ, **more}).stdout)
import os
"""


@pytest.fixture
async def used(shard, start_worker):
    """A session with objects that store hashes, and its worker."""
    worker = await start_worker()
    session = shard.session("s")
    (await session.run(MAKE)).raise_for_status()
    return session, worker


async def test_hashes_are_the_same_after_hibernation(used):
    session, _ = used
    await session.hibernate()

    assert (await session.run(USE)).value == RIGHT


async def test_hashes_are_the_same_on_another_worker(used, start_worker):
    session, worker = used
    await start_worker()
    await worker.kill()

    assert (await session.run(USE)).value == RIGHT


async def test_hashes_are_the_same_in_a_fork(used):
    session, _ = used
    fork = await session.fork("fork")

    assert (await fork.run(USE)).value == RIGHT


async def test_hashes_are_the_same_when_all_workers_have_been_replaced(used, start_worker):
    session, worker = used
    await worker.stop()
    await start_worker()

    assert (await session.run(USE)).value == RIGHT


async def test_two_shards_hash_differently(used, redis_server):
    session, _ = used
    mine = (await session.run("hash('text')")).value
    async with skep.embedded() as other:
        theirs = (await other.session("s").run("hash('text')")).value

    assert mine != theirs


async def test_a_program_that_a_cell_starts_has_a_random_seed(used):
    session, _ = used
    await session.run(HASH_OF_CHILD)
    found = (await session.run("'PYTHONHASHSEED' in os.environ, hash('text'), child_hash(), child_hash()")).value

    assert found[0] is False
    assert len(set(found[1:])) == 3


async def test_a_seed_that_a_cell_sets_applies_to_its_programs(used):
    session, _ = used
    await session.run(HASH_OF_CHILD)
    await session.run("os.environ['PYTHONHASHSEED'] = '7'")
    await session.hibernate()

    assert (await session.run("child_hash() == child_hash() == child_hash(PYTHONHASHSEED='7')")).value is True


async def test_a_seed_that_the_operator_sets_applies_to_programs_only(shard, run_logged):
    settings = shard.settings
    worker = await run_logged(
        "-m", "skep_workers", "--redis", settings.redis_url, "--prefix", settings.prefix,
        "--pass-env", "PYTHONHASHSEED", PYTHONHASHSEED="7",
    )  # fmt: skip
    await worker.says("worker.ready")
    session = shard.session("s")
    await session.run(HASH_OF_CHILD)

    code = "os.environ['PYTHONHASHSEED'], hash('text') == child_hash(), child_hash() == child_hash()"
    assert (await session.run(code)).value == ("7", False, True)


async def test_a_running_worker_writes_back_what_redis_has_lost(used, shard, eventually):
    redis, key = shard._link.redis, shard._link.keys.shard
    before = await redis.hgetall(key)
    await redis.flushdb()

    async def is_back():
        return await redis.exists(key)

    await eventually(is_back)
    assert await redis.hgetall(key) == before
    again = shard.session("again")
    await again.run("x = 1")
    assert (await again.run("x")).value == 1


async def test_a_worker_adopts_the_seed_that_another_one_has_stored_meanwhile(used, shard, eventually):
    redis, key = shard._link.redis, shard._link.keys.shard
    record = await redis.hgetall(key)
    expected = (await shard.session("probe").run(HASH_OF_CHILD + "child_hash(PYTHONHASHSEED='1')")).value
    await redis.flushdb()
    await redis.hset(key, mapping=record | {b"id": "other", b"hash_seed": 1})

    async def is_adopted():
        probe = shard.session("probe")
        value = (await probe.run("hash('text')")).value
        await probe.close(purge=True)
        return value == expected

    await eventually(is_adopted)
