"""Redis goes away, comes back, freezes, or drops every connection: what was acknowledged happens, once."""

import asyncio
import os
import secrets
from hashlib import sha256

import pytest

import skep

from ..session_processes import OWN_NAME
from .oracle_client import ORACLE_CELL

pytestmark = pytest.mark.anyio

CELLS = 50


@pytest.fixture
def redis_server(stoppable_server):
    """A server of the test's own, in place of the shared one."""
    return stoppable_server


@pytest.fixture
def client_settings():
    """It soon notices when the server doesn't answer."""
    return {"command_timeout_seconds": 0.5, "block_seconds": 0.5}


@pytest.fixture
async def worker(start_worker):
    """A worker that notices it too, but not a busy machine."""
    return await start_worker("--command-timeout-seconds", "2", "--block-seconds", "0.5")


async def submit_oracle_cells(session, count=CELLS):
    """Submit cells that each absorb their id into a hash chain."""
    ids = [f"{session.id}/{secrets.token_hex(4)}" for _ in range(count)]
    return await session.submit_many(
        [{"code": ORACLE_CELL, "cell_id": cell_id, "inputs": {"cell_id": cell_id}} for cell_id in ids]
    )


async def check_history(session, outcomes, first_seq=1):
    """Check that the cells took effect in order, once each, in one namespace, and that the stream is dense."""
    chain = ""
    for count, outcome in enumerate(outcomes, start=1):
        chain = sha256((chain + outcome.cell_id).encode()).hexdigest()
        assert (outcome.status, outcome.value) == (skep.CellStatus.FINISHED, (count, chain))
    events = [event async for event in session.events()]
    assert [event.id for event in events] == [f"{number}-0" for number in range(1, len(events) + 1)]
    finished = [event.cell_id for event in events if event.kind == "cell.finished"]
    assert finished[first_seq - 1 :][: len(outcomes)] == [outcome.cell_id for outcome in outcomes]


async def test_a_storm_of_cut_connections_loses_and_doubles_nothing(shard, worker):
    session = shard.session("stormy")
    cells = await submit_oracle_cells(session)
    for waiting in asyncio.as_completed([cell.outcome() for cell in cells]):
        await waiting
        async with skep.connect(settings=shard.settings) as admin:
            await admin._link.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    await check_history(session, [await cell.outcome() for cell in cells])


async def test_submits_go_through_a_storm_once_each(shard, worker):
    session = shard.session("stormy")
    stop = asyncio.Event()

    async def storm():
        while not stop.is_set():
            async with skep.connect(settings=shard.settings) as admin:
                await admin._link.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    storming = asyncio.create_task(storm())
    cells = []
    for _ in range(20):
        cells += await submit_oracle_cells(session, 1)
    stop.set()
    await storming

    await check_history(session, [await cell.outcome() for cell in cells])


async def test_everything_continues_after_a_killed_redis_has_been_restarted(
    shard, worker, redis_server, gate, first_output
):
    session = shard.session("patient")
    await session.run(f"kept = {OWN_NAME}")
    running = await session.submit(f"print('ready')\n{gate.wait}\n{OWN_NAME} == kept")
    queued = await submit_oracle_cells(session)
    waits = [asyncio.create_task(cell.outcome()) for cell in (running, *queued)]
    await first_output(running)

    redis_server.kill()
    gate.open()  # the cells run while nothing can be stored
    late = asyncio.create_task(session.submit(f"{OWN_NAME} == kept"))
    await redis_server.start()

    outcomes = await asyncio.gather(*waits)
    assert outcomes[0].value is True
    await check_history(session, outcomes[1:], first_seq=3)
    assert (await (await late).outcome()).value is True


async def test_a_redis_that_is_killed_time_and_again_loses_nothing(shard, worker, redis_server):
    session = shard.session("patient")
    cells = []
    for _ in range(3):
        cells += await submit_oracle_cells(session, 20)
        redis_server.kill()
        await redis_server.start()

    await check_history(session, [await cell.outcome() for cell in cells])


async def test_a_session_that_waits_for_a_worker_is_not_forgotten_by_a_restart(shard, redis_server, start_worker):
    cell = await shard.session("patient").submit("6 * 7")
    redis_server.kill()
    await redis_server.start()
    await start_worker()

    assert (await cell.outcome()).value == 42


async def test_a_redis_that_freezes_longer_than_any_timeout_is_waited_for(shard, worker, redis_server, first_output):
    session = shard.session("patient")
    await session.run(f"kept = {OWN_NAME}")
    running = await session.submit(f"print('ready')\nimport time\ntime.sleep(0.01)\n{OWN_NAME} == kept")
    waiting = asyncio.create_task(running.outcome())
    await first_output(running)

    redis_server.freeze()
    impatient = shard.settings.model_copy(update={"outage_seconds": 0.0, "command_timeout_seconds": 2.0})
    with pytest.raises(skep.RedisUnavailable):  # the signal that more than the lease has passed
        async with skep.connect(settings=impatient):
            pass
    redis_server.thaw()

    assert (await waiting).value is True
    assert (await session.run(f"{OWN_NAME} == kept")).value is True


async def test_a_client_stops_retrying_after_outage_seconds(shard, redis_server):
    impatient = shard.settings.model_copy(update={"outage_seconds": 0.1})
    async with skep.connect(settings=impatient) as client:
        cell = await client.session("s").submit("1")
        redis_server.kill()
        with pytest.raises(skep.RedisUnavailable):
            await client.session("s").submit("2")
        with pytest.raises(skep.RedisUnavailable):
            await cell.outcome()
        await redis_server.start()


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_cells_that_run_while_redis_is_away_commit_once_each(
    shard, redis_server, run_logged, shared_path, first_output, how
):
    settings = shard.settings
    flags = ["--redis", settings.redis_url, "--prefix", settings.prefix, "--lease-seconds", "1"]
    worker = await run_logged("-m", "skep_workers", *flags, "--command-timeout-seconds", "2", "--block-seconds", "0.5")
    await worker.says("worker.ready")
    sessions = [shard.session(f"s-{number}") for number in range(6)]
    for session in sessions:
        assert (await session.run(f"kept = {OWN_NAME}; n = 0")).ok
    gates = [shared_path / str(number) for number in range(len(sessions))]
    for gate in gates:
        os.mkfifo(gate)
    code = "print('ready')\nopen({!r}).read()\nn += 1\nn"
    cells = [await each.submit(code.format(str(gate))) for each, gate in zip(sessions, gates, strict=True)]
    await asyncio.gather(*(first_output(cell) for cell in cells))

    waits = [asyncio.create_task(cell.outcome()) for cell in cells]
    redis_server.kill() if how == "killed" else redis_server.freeze()
    for gate in gates[::2]:  # these end while Redis is away
        gate.write_text("go")
    await worker.says("lease.beat_failed")
    await redis_server.start() if how == "killed" else redis_server.thaw()
    for gate in gates[1::2]:
        gate.write_text("go")

    outcomes = await asyncio.gather(*waits)
    assert {(outcome.status, outcome.value, outcome.attempt) for outcome in outcomes} == {
        (skep.CellStatus.FINISHED, 1, 1)
    }
    for session, cell in zip(sessions, cells, strict=True):
        assert (await session.run(f"(n, {OWN_NAME} == kept)")).value == (1, True)
        ends = [event.cell_id async for event in session.events() if event.kind == "cell.finished"]
        assert ends.count(cell.id) == 1
