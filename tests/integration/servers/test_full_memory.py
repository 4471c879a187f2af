"""A Redis that is full: a session whose state doesn't fit gets its outcome and can be closed; other sessions continue."""

import asyncio
import contextlib
from pathlib import Path

import pytest

import skep

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

MIB = 1024 * 1024
MARK = "SECRETMARK-hunter2"
LARGE = f"import os\nbig = os.urandom({8 * MIB}) + b'{MARK}' + os.urandom(1000); len(big) > 0"


@pytest.fixture
async def server(start_server):
    """A server with room for some small sessions."""
    return await start_server("--appendonly", "no")


@pytest.fixture
async def client(server, work_at, connect_to, log_path):
    """A client, and a worker with a log file."""
    await work_at(server.url, log_path=log_path)
    return await connect_to(server.url)


@pytest.fixture
def log_path(tmp_path) -> Path:
    """The path of the worker's log."""
    return tmp_path / "worker.log"


async def fill(server, spare=MIB):
    """Leave this many bytes of memory."""
    used = (await server.admin.info("memory"))["used_memory"]
    await server.admin.config_set("maxmemory", used + spare)


async def make_room(server):
    """Remove the limit."""
    await server.admin.config_set("maxmemory", 0)


async def run(session, code):
    """Run a cell as soon as Redis accepts it: the stored parts of a failed checkpoint are removed a moment later."""
    while True:
        try:
            return await session.run(code)
        except skep.RedisFull:
            await asyncio.sleep(0.05)  # this has no signal to await


async def events_of(session):
    """Return all events."""
    return [event async for event in session.events()]


async def test_a_state_that_does_not_fit_costs_its_checkpoint_and_nothing_else(client, server, log_path):
    big, other = client.session("big"), client.session("other")
    await run(other, "n = 0")
    await run(big, "small = 1")
    await fill(server)

    outcome = await run(big, LARGE)
    assert (outcome.status, outcome.value, outcome.checkpoint) == ("finished", True, None)
    assert "out of memory" in " ".join(outcome.warnings)
    assert (await run(big, "len(big) > 0, small")).value == (True, 1)  # the live state remains
    assert [(await run(other, "n += 1; n")).value for _ in range(3)] == [1, 2, 3]
    failed = [event for event in await events_of(big) if event.kind == "checkpoint.failed"]
    assert failed[0].after == 2
    assert "out of memory" in failed[0].reason

    await make_room(server)
    after = await run(big, "again = 2")
    assert after.checkpoint == f"{(await big.info()).cursor}-0"
    await run(big, "import os; os.kill(os.getpid(), 9)")
    assert (await run(big, "len(big), small, again")).value == (8 * MIB + len(MARK) + 1000, 1, 2)
    assert MARK not in log_path.read_text()
    assert MARK not in repr(failed)


async def test_the_stored_parts_of_a_failed_checkpoint_are_removed(client, server, eventually):
    session = client.session("s")
    await run(session, "small = 1")
    await fill(server, 5 * MIB)
    assert (await run(session, LARGE)).checkpoint is None
    redis, keys = client._link.redis, client._link.keys

    async def is_small():
        values = await redis.hvals(keys.blobs("s"))
        return sum(map(len, values)) < MIB

    await eventually(is_small)
    await run(session, "del big")
    assert (await run(session, "small")).value == 1


async def test_files_that_did_not_fit_are_saved_once_there_is_room(client, server):
    session = client.session("s")
    await run(session, "small = 1")
    await fill(server)
    await run(session, f"import os; open('f', 'wb').write(os.urandom({6 * MIB}))")
    await make_room(server)
    await run(session, "small = 2")
    await run(session, "os.kill(os.getpid(), 9)")

    assert (await run(session, "import os; os.path.getsize('f'), small")).value == (6 * MIB, 2)


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "idle"])
async def test_a_session_whose_state_does_not_fit_can_be_purged_which_frees_memory(client, server, is_running):
    session, other = client.session("s"), client.session("other")
    await run(other, "import os; n = 0")
    await run(session, f"import os; old = os.urandom({4 * MIB}); 1")
    await fill(server)
    if is_running:
        cell = await session.submit(f"big = os.urandom({8 * MIB}); 1")
        await session.close(purge=True)
        with contextlib.suppress(skep.SkepError):
            await cell.outcome(timeout=1)
    else:
        await run(session, f"big = os.urandom({8 * MIB}); 1")
        await session.close(purge=True)

    with pytest.raises(skep.NotFound):
        await session.info()
    outcome = await run(other, f"more = os.urandom({3 * MIB}); len(more)")
    assert (outcome.value, outcome.checkpoint) == (3 * MIB, "2-0")


async def test_a_session_without_an_owner_can_be_closed_too(client, server, work_at):
    session = client.session("s")
    await run(session, "n = 1")
    await session.hibernate()
    await session.submit("n = 2", defer_by=3600)
    await server.admin.config_set("maxmemory", 1)
    await session.close(purge=True)

    with pytest.raises(skep.NotFound):
        await session.info()


async def test_a_refused_submit_raises_the_reason_and_all_other_calls_work(client, server, gate, first_output):
    session = client.session("s")
    cell = await session.submit(f"print('ready')\n{gate.wait}\n'done'")
    await first_output(cell)
    await server.admin.config_set("maxmemory", 1)
    with pytest.raises(skep.RedisFull, match="maxmemory"):
        await session.submit("1")
    with pytest.raises(skep.RedisFull):
        await session.submit("1", defer_by=1)
    waiting = asyncio.create_task(cell.outcome())
    assert (await session.info()).seq == 1
    gate.open()

    assert (await waiting).value == "done"
    assert [event.kind for event in await events_of(session)][-1] == "cell.finished"


async def test_a_storm_of_refused_chunks_writes_short_lines_only(client, server, log_path):
    session = client.session("s")
    await run(session, "import os")
    await fill(server)
    for _ in range(3):
        assert (await run(session, LARGE)).checkpoint is None

    lines = log_path.read_text().splitlines()
    assert any("redis.full" in line for line in lines)
    assert max(map(len, lines)) < 2000
    assert MARK not in "\n".join(lines)
