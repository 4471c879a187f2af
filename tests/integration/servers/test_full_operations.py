"""Operations on a Redis that is full: they are answered or fail soon with the reason; files are stored whole or not at all."""

import asyncio
import contextlib
import os

import pytest

import skep

from .test_full_memory import MARK, MIB, fill, make_room, run

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.fixture
async def server(start_server):
    """A server with room for some small sessions."""
    return await start_server("--appendonly", "no")


@pytest.fixture
def log_path(tmp_path):
    """The path of the worker's log."""
    return tmp_path / "worker.log"


@pytest.fixture
async def client(server, work_at, connect_to, log_path):
    """A client, and a worker with a log file."""
    await work_at(server.url, log_path=log_path)
    return await connect_to(server.url)


@pytest.fixture
async def session(client):
    """A session with some state."""
    session = client.session("s")
    await run(session, f"import os\nname = 'value {MARK}'\ndata = os.urandom(1000)")
    return session


async def stored_bytes(client, session):
    """Return the stored bytes of a session's checkpoints."""
    return sum(map(len, await client._link.redis.hvals(client._link.keys.blobs(session.id))))


async def test_small_answers_arrive_while_redis_is_full(server, session, log_path):
    await server.admin.config_set("maxmemory", 1)

    assert {"name", "data"} <= {variable.name for variable in await session.variables()}
    assert (await session.complete("nam")).matches
    assert (await session.inspect("name")).name == "name"
    assert (await session.is_complete("for x in y:")).status == "incomplete"
    assert await session.files.list() == []
    assert MARK not in log_path.read_text()


@pytest.mark.timeout(130)
async def test_concurrent_answers_arrive_while_redis_is_full(server, session, monkeypatch):
    monkeypatch.setattr("skep.operations.OPERATION_SECONDS", 100.0)  # for a busy machine
    await server.admin.config_set("maxmemory", 1)

    found = await asyncio.gather(*[session.complete("nam") for _ in range(150)])
    assert all(completion.matches for completion in found)


async def test_an_answer_that_is_too_large_for_redis_fails_with_the_reason(server, session, log_path):
    await run(session, f"open('f', 'wb').write(b'{MARK}' * 50_000)")
    await server.admin.config_set("maxmemory", 1)
    with pytest.raises(skep.RedisFull, match="maxmemory"):
        await session.files.get("f")
    assert (await session.complete("nam")).matches  # later operations are answered

    await make_room(server)
    assert await session.files.get("f") == MARK.encode() * 50_000
    assert MARK not in log_path.read_text()


async def test_hibernate_and_rollback_are_answered(server, session):
    checkpoint = (await run(session, "name = 2")).checkpoint
    await run(session, "name = 3")
    await server.admin.config_set("maxmemory", 1)
    await session.rollback(checkpoint)
    await session.hibernate()
    assert (await session.info()).owner is None

    await make_room(server)
    assert (await run(session, "name")).value == 2


@pytest.mark.parametrize("size", [100_000, 900_000, 5 * MIB], ids=str)
async def test_a_file_that_does_not_fit_is_refused_and_nothing_of_it_is_left(
    client, server, session, log_path, size, eventually
):
    await session.files.put("before", b"kept")
    before = await stored_bytes(client, session)
    await fill(server, 200_000 if size < MIB else 2 * MIB)
    if size < 500_000:
        await server.admin.config_set("maxmemory", 1)
    data = MARK.encode() + os.urandom(size)
    with pytest.raises(skep.RedisFull, match="maxmemory"):
        await session.files.put("dir/f", data)

    assert [file.path for file in await session.files.list()] == ["before"]
    await make_room(server)

    async def is_as_before():
        return await stored_bytes(client, session) <= before + 1000

    await eventually(is_as_before)
    assert not [key async for key in client._link.redis.scan_iter(match="*:upload:*")]
    assert (await run(session, "sorted(os.listdir()), name[:5]")).value == (["before"], "value")
    await session.files.put("dir/f", data)
    assert await session.files.get("dir/f") == data
    assert MARK not in log_path.read_text()


async def test_a_refused_file_does_not_affect_a_running_cell(server, session, gate, first_output):
    cell = await session.submit(f"print('ready')\n{gate.wait}\n'done'")
    await first_output(cell)
    await fill(server, 2 * MIB)
    with pytest.raises(skep.RedisFull):
        await session.files.put("f", os.urandom(5 * MIB))
    gate.open()

    assert (await cell.outcome()).value == "done"


async def test_a_session_survives_many_refused_files(server, session):
    await fill(server, 2 * MIB)
    for _ in range(3):
        with contextlib.suppress(skep.RedisFull):
            await session.files.put("f", os.urandom(5 * MIB))

    assert (await run(session, "name[:5]")).value == "value"
    epoch = (await session.info()).epoch
    assert epoch == 1  # no other worker took it over


async def test_a_fork_and_a_name_are_refused_completely_while_redis_is_full(client, server, session):
    checkpoint = (await run(session, "name = 2")).checkpoint
    await server.admin.config_set("maxmemory", 1)
    with pytest.raises(skep.RedisFull):
        await session.fork("fork")
    with pytest.raises(skep.RedisFull):
        await session.name_checkpoint(checkpoint, "mine")
    with pytest.raises(skep.NotFound):
        await client.session("fork").info()

    await make_room(server)
    assert [found.name async for found in session.checkpoints()] == [None] * 2
    fork = await session.fork("fork")
    assert (await run(fork, "name")).value == 2
