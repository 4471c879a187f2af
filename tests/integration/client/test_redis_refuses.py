"""Redis answers, but refuses: a script holds it up, it takes no more connections, or its disk is full."""

import asyncio
import contextlib
import resource

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

import skep

from ..session_processes import OWN_NAME

pytestmark = pytest.mark.anyio


@pytest.fixture
def redis_flags():
    """It writes to its disk once a second: one that has to at once ends if it can't."""
    return "--appendfsync", "everysec"


@pytest.fixture
def redis_server(stoppable_server):
    """A server of the test's own, in place of the shared one."""
    return stoppable_server


@pytest.fixture
def client_settings():
    """It notices soon."""
    return {"command_timeout_seconds": 0.5, "block_seconds": 0.5}


@pytest.fixture
async def impatient(shard):
    """Another one, that gives up at once."""
    async with skep.connect(settings=shard.settings.model_copy(update={"outage_seconds": 0.0})) as cluster:
        yield cluster


@pytest.fixture
async def admin(redis_server):
    """A connection that is there already."""
    async with Redis.from_url(redis_server.url, single_connection_client=True) as client:
        await client.ping()
        yield client


@pytest.fixture
async def waiting(shard, start_worker, gate, first_output):
    """A cell that waits at the gate, in a session that remembers its process."""
    await start_worker("--command-timeout-seconds", "0.5", "--block-seconds", "0.5")
    session = shard.session("s")
    await session.run(f"kept = {OWN_NAME}")
    cell = await session.submit(f"print('ready')\n{gate.wait}\n{OWN_NAME} == kept")
    await first_output(cell)
    return cell


def log_bytes(directory):
    """Return the size of the server's append-only log, whichever version has written it."""
    return max(path.stat().st_size for path in directory.rglob("append*aof*") if path.is_file())


async def refuses(client, *words):
    """Wait until the server refuses this command, and give its words."""
    while True:
        try:
            await client.execute_command(*words)
        except ResponseError as exc:
            return str(exc)
        await asyncio.sleep(0.01)  # it sends no signal


async def goes_on(shard, cell, late):
    """Check that nothing was lost, and that the session is where it was."""
    assert (await cell.outcome()).value is True
    assert (await (await late).outcome()).value is True
    assert (await shard.session("s").info()).epoch == 1


async def test_a_script_that_holds_redis_up_is_waited_for(shard, impatient, waiting, gate, admin, redis_server):
    await admin.execute_command("CONFIG", "SET", "lua-time-limit", 20)
    async with Redis.from_url(redis_server.url) as other:
        spinning = asyncio.create_task(other.execute_command("EVAL", "while true do end", 0))
        assert (await refuses(admin, "PING")).startswith("BUSY")
        gate.open()
        late = asyncio.create_task(shard.session("s").submit(f"{OWN_NAME} == kept"))
        with pytest.raises(skep.RedisUnavailable, match="busy"):
            await impatient.session("other").submit("1")
        await admin.execute_command("SCRIPT", "KILL")
        with contextlib.suppress(RedisError):
            await spinning

    await goes_on(shard, waiting, late)


async def test_a_redis_that_accepts_no_more_connections_is_waited_for(shard, impatient, waiting, gate, admin):
    [before] = (await admin.config_get("maxclients")).values()
    await admin.execute_command("CONFIG", "SET", "maxclients", 1)
    await admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    gate.open()
    late = asyncio.create_task(shard.session("s").submit(f"{OWN_NAME} == kept"))
    with pytest.raises(skep.RedisUnavailable):
        await impatient.session("other").submit("1")
    await admin.execute_command("CONFIG", "SET", "maxclients", before)

    await goes_on(shard, waiting, late)


async def test_a_full_disk_is_reported_to_submitters_and_waited_for(
    shard, impatient, waiting, gate, admin, redis_server, tmp_path
):
    resource.prlimit(redis_server.pid, resource.RLIMIT_FSIZE, (log_bytes(tmp_path), resource.RLIM_INFINITY))
    assert "MISCONF" in await refuses(admin, "SET", "what", "ever")
    gate.open()
    late = asyncio.create_task(shard.session("s").submit(f"{OWN_NAME} == kept"))
    with pytest.raises(skep.RedisUnavailable, match="MISCONF"):
        await impatient.session("other").submit("1")
    resource.prlimit(redis_server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    await goes_on(shard, waiting, late)
