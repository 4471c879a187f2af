"""kill -9 of a worker: another one takes over its sessions, and every cell has one terminal event."""

import asyncio
import os
import signal

import pytest

import skep

from ..session_processes import OWN_NAME, name_of, pid_named, pid_of, zygote_of

pytestmark = pytest.mark.anyio

# The worker is the parent of the zygote, which is the session's parent.
KILL_WORKER = """
import os, signal
stat = open(f"/proc/{os.getppid()}/stat").read()
os.kill(int(stat.rpartition(")")[2].split()[1]), signal.SIGKILL)
signal.pause()
"""


@pytest.fixture
async def pair(start_worker):
    """Two workers."""
    return [await start_worker(), await start_worker()]


async def owner_of(session, workers):
    """Return the worker that has the session, and the other one."""
    owner = (await session.info()).owner
    return sorted(workers, key=lambda worker: worker.worker_id != owner)


@pytest.fixture
def kill_owner(pair, first_output, process_end):
    """Return a function that kills the worker of a running cell, whose first line is the name of its process."""

    async def kill(session, cell):
        pid = pid_named((await first_output(cell)).partition("\n")[0])
        owner, other = await owner_of(session, pair)
        await owner.kill()
        await process_end(pid)  # otherwise it could still pass the gate in its last moments
        return owner, other

    return kill


async def test_all_cells_of_a_killed_worker_finish_on_the_other(shard, kill_owner, gate):
    session = shard.session("s")
    before = await session.submit_many(["1", "2"])
    assert [(await cell.outcome()).value for cell in before] == [1, 2]
    running = await session.submit(f"print({OWN_NAME})\n{gate.wait}\n'ran'")
    queued = await session.submit_many([f"print('{number}')\n{number}" for number in range(100)])
    _, other = await kill_owner(session, running)
    gate.open()

    assert (await running.outcome()).value == "ran"
    assert [(await cell.outcome()).value for cell in queued] == list(range(100))
    assert (await session.info()).owner == other.worker_id


async def test_the_record_has_each_cell_once_and_reports_the_second_attempt(shard, kill_owner, gate):
    session = shard.session("s")
    first = await session.run("1")
    running = await session.submit(f"print({OWN_NAME})\n{gate.wait}")
    queued = await session.submit_many(["1"] * 10)
    owner, other = await kill_owner(session, running)
    gate.open()
    outcomes = [first, await running.outcome(), *[await cell.outcome() for cell in queued]]

    events = [event async for event in session.events()]
    assert [event.id for event in events] == [f"{number}-0" for number in range(1, len(events) + 1)]
    finished = [event for event in events if event.kind == "cell.finished"]
    assert [event.cell_id for event in finished] == [outcome.cell_id for outcome in outcomes]
    assert [outcome.attempt for outcome in outcomes] == [1, 2, *[1] * 10]
    [retried] = [event for event in events if event.kind == "cell.retried"]
    assert (retried.cell_id, retried.attempt, retried.epoch) == (running.id, 2, 2)
    [moved] = [event for event in events if event.kind == "session.moved"]
    assert (moved.worker_id, moved.from_worker_id, moved.epoch) == (other.worker_id, owner.worker_id, 2)
    assert "died" in moved.reason


async def test_epochs_never_go_back(shard, kill_owner, gate):
    session = shard.session("s")
    running = await session.submit(f"print({OWN_NAME})\n{gate.wait}")
    await kill_owner(session, running)
    gate.open()
    await running.outcome()

    epochs = [event.epoch async for event in session.events()]
    assert epochs == sorted(epochs)
    assert set(epochs) == {1, 2}


async def test_output_of_the_lost_attempt_is_not_in_the_outcome(shard, kill_owner, gate):
    session = shard.session("s")
    running = await session.submit(f"print({OWN_NAME})\nprint('once')\n{gate.wait}")
    await kill_owner(session, running)
    gate.open()

    outcome = await running.outcome()
    assert outcome.text.splitlines()[1:] == ["once"]
    [fold] = await session.transcript()
    assert fold.text == outcome.text


async def test_a_reader_that_follows_sees_the_takeover_without_a_gap(shard, kill_owner, gate):
    session = shard.session("s")
    running = await session.submit(f"print({OWN_NAME})\n{gate.wait}")

    async def follow():
        seen = []
        async for event in session.events(follow=True):
            seen.append(event)
            if event.kind == "cell.finished":
                return seen
        raise AssertionError("the session was closed")

    following = asyncio.create_task(follow())
    await kill_owner(session, running)
    gate.open()

    seen = await following
    assert [event.id for event in seen] == [f"{number}-0" for number in range(1, len(seen) + 1)]


async def test_processes_of_a_killed_worker_are_gone(shard, start_worker, process_end):
    worker = await start_worker()
    code = "import subprocess\nchild = subprocess.Popen(['sleep', '3600'])\n" + name_of("child.pid")
    session = shard.session("s")
    pids = [pid_named((await session.run(code)).value), await pid_of(session), await zygote_of(session)]
    await worker.kill()

    for pid in pids:
        await process_end(pid)


async def test_a_cell_that_must_not_run_again_is_lost(shard, kill_owner, gate):
    session = shard.session("s")
    running, after = await session.submit_many(
        [
            {"code": f"print({OWN_NAME})\n{gate.wait}", "on_worker_loss": "fail"},
            {"code": "1", "on_worker_loss": "fail"},
        ]
    )
    await kill_owner(session, running)

    outcome = await running.outcome()
    assert (outcome.status, outcome.error.ename) == (skep.CellStatus.LOST, "WorkerLost")
    with pytest.raises(skep.CellLost):
        outcome.raise_for_status()
    assert (await after.outcome()).value == 1


async def test_a_cell_that_kills_workers_is_lost_after_its_attempts(shard, start_worker):
    workers = [await start_worker() for _ in range(3)]
    session = shard.session("s")
    poison, after = await session.submit_many([{"code": KILL_WORKER, "max_attempts": 2}, "1"])

    outcome = await poison.outcome()
    assert (outcome.status, outcome.error.ename) == (skep.CellStatus.LOST, "WorkerLost")
    assert (await after.outcome()).value == 1
    assert [worker._process.poll() for worker in workers].count(-signal.SIGKILL) == 2


async def test_idle_sessions_of_a_killed_worker_continue_elsewhere(shard, pair):
    sessions = [shard.session(f"s{number}") for number in range(8)]
    await asyncio.gather(*[session.run("1") for session in sessions])
    owner, other = await owner_of(sessions[0], pair)
    await owner.kill()

    outcomes = await asyncio.gather(*[session.run("2") for session in sessions])
    assert {outcome.value for outcome in outcomes} == {2}
    assert {(await session.info()).owner for session in sessions} == {other.worker_id}


async def test_a_killed_worker_is_removed_from_the_list(shard, pair, eventually):
    await pair[0].kill()
    await shard.session("s").run("1")

    keys, redis = shard._link.keys, shard._link.redis

    async def is_forgotten():  # a heartbeat of the other worker does that
        return await redis.zscore(keys.workers, pair[0].worker_id) is None

    await eventually(is_forgotten)
    names = [name async for name in redis.scan_iter(match=f"{shard.settings.prefix}:worker:*")]
    assert not [name for name in names if pair[0].worker_id.encode() in name]


async def test_closing_a_session_whose_worker_was_killed_ends_it(shard, kill_owner, gate):
    session = shard.session("s")
    cells = await session.submit_many([f"print({OWN_NAME})\n{gate.wait}", "1"])
    await kill_owner(session, cells[0])
    await session.close()

    assert {(await cell.outcome()).status for cell in cells} <= {
        skep.CellStatus.CANCELLED,
        skep.CellStatus.INTERRUPTED,
        skep.CellStatus.LOST,
    }
    assert [event.kind async for event in session.events()].count("session.closed") == 1


async def test_a_cell_interrupted_or_cancelled_before_its_session_has_an_owner_ends(shard, start_worker):
    session = shard.session("s")
    cells = await session.submit_many(["ran = [0]", "import time; time.sleep(3600)", "ran.append(2)", "ran"])

    assert await cells[1].interrupt() is True
    assert await cells[2].cancel() is True
    await start_worker()

    assert [(await cell.outcome()).status.value for cell in cells] == [
        "finished", "interrupted", "cancelled", "finished",
    ]  # fmt: skip
    assert (await cells[3].outcome()).value == [0]


async def test_an_interrupt_outlives_the_worker_that_received_it(shard, kill_owner, first_output):
    session = shard.session("s")
    shy = f"import time\nprint({OWN_NAME})\nwhile True:\n    try: time.sleep(3600)\n    except KeyboardInterrupt: pass"
    running = await session.submit(shy)
    await first_output(running)

    assert await running.interrupt() is True
    await kill_owner(session, running)

    outcome = await running.outcome()
    assert (outcome.status, outcome.attempt) == (skep.CellStatus.INTERRUPTED, 2)


OPTIONS = {"default": {}, "two": {"max_attempts": 2}, "one": {"max_attempts": 1}, "fail": {"on_worker_loss": "fail"}}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
async def test_the_death_of_an_idle_owner_does_not_count_as_an_attempt_of_the_next_cell(shard, pair, options):
    session = shard.session("s")
    await session.run("x = 1")
    owner, _ = await owner_of(session, pair)
    await owner.kill()

    outcome = await session.run("x += 1; x", **options)

    assert (outcome.status, outcome.value, outcome.attempt) == (skep.CellStatus.FINISHED, 2, 1)
    assert "cell.retried" not in [event.kind async for event in session.events()]


async def test_a_cell_that_a_frozen_owner_never_began_has_used_no_attempt(shard, pair):
    session = shard.session("s")
    await session.run("x = 1")
    owner, other = await owner_of(session, pair)
    owner._process.send_signal(signal.SIGSTOP)

    outcome = await session.run("x += 1; x", max_attempts=2)

    assert (outcome.status, outcome.value, outcome.attempt) == (skep.CellStatus.FINISHED, 2, 1)
    assert (await session.info()).owner == other.worker_id
    assert "cell.retried" not in [event.kind async for event in session.events()]


async def test_a_silent_running_cell_uses_an_attempt_when_its_worker_dies(shard, pair, gate, shared_path):
    session = shard.session("s")
    await session.run("1")
    told = shared_path / "told"
    os.mkfifo(told)
    cell = await session.submit(f"open({str(told)!r}, 'wb').close(); {gate.wait}", max_attempts=2)
    await asyncio.to_thread(told.read_bytes)  # it runs
    owner, _ = await owner_of(session, pair)
    await owner.kill()
    await asyncio.to_thread(told.read_bytes)
    gate.open(2)

    assert (await cell.outcome()).attempt == 2


async def test_a_cell_that_kills_workers_has_max_attempts_in_a_resident_session_too(shard, start_worker):
    workers = [await start_worker() for _ in range(3)]
    session = shard.session("s")
    await session.run("1")

    outcome = await session.run(KILL_WORKER, max_attempts=2)

    assert (outcome.status, outcome.attempt) == (skep.CellStatus.LOST, 3)
    assert "died 2 times while it was running" in outcome.error.evalue
    assert [worker._process.poll() for worker in workers].count(-signal.SIGKILL) == 2


async def test_a_cell_with_one_attempt_that_kills_its_worker_runs_once(shard, start_worker):
    workers = [await start_worker() for _ in range(2)]
    outcome = await shard.session("s").run(KILL_WORKER, max_attempts=1)

    assert (outcome.status, outcome.error.ename) == (skep.CellStatus.LOST, "WorkerLost")
    assert [worker._process.poll() for worker in workers].count(-signal.SIGKILL) == 1


async def test_cells_with_one_attempt_run_in_order_among_others(shard, pair):
    codes = [
        {"code": f"done = [*globals().get('done', []), {number}]; done", "max_attempts": 1 + number % 2}
        for number in range(9)
    ]
    cells = await shard.session("s").submit_many(codes)

    assert [(await cell.outcome()).value for cell in cells][-1] == list(range(9))


async def test_the_death_of_an_idle_worker_does_not_count_as_an_attempt_of_a_later_cell(shard, pair, eventually):
    session = shard.session("s")
    await session.run("x = 1")
    owner, _ = await owner_of(session, pair)
    await owner.kill()
    marker = shard._link.keys.worker(owner.worker_id)

    async def is_dead():
        return not await shard._link.redis.exists(marker)

    await eventually(is_dead)
    outcome = await session.run("x += 1; x")

    assert (outcome.value, outcome.attempt) == (2, 1)
