"""SIGTERM: running cells may end, waiting cells run on another worker, and the process exits with status 0."""

import os
import signal

import pytest

import skep

from ..session_processes import pid_of, zygote_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def draining(shard, run_logged, gate, first_output):
    """Return a worker that got SIGTERM while a cell waits at the gate, and that cell.

    `before` is another session that the worker had before.
    """

    async def drain(*flags, code="print('ready')\n{wait}\n'done'", before=None, **options):
        settings = shard.settings
        worker = await run_logged(
            "-m", "skep_workers", "--redis", settings.redis_url, "--prefix", settings.prefix, *flags
        )
        await worker.says("worker.ready")
        if before is not None:
            await before.run("n = 1")
        cell = await shard.session("s").submit(code.format(wait=gate.wait), **options)
        await first_output(cell)
        worker.send_signal(signal.SIGTERM)
        await worker.says("worker.draining")
        return worker, cell

    return drain


async def test_the_running_cell_ends_within_the_grace_period(draining, gate):
    worker, cell = await draining()
    gate.open()

    outcome = await cell.outcome()
    assert (outcome.status, outcome.value, outcome.attempt) == (skep.CellStatus.FINISHED, "done", 1)
    assert await worker.exit_status() == 0


async def test_a_cell_may_write_much_output_while_its_worker_drains(draining, gate):
    worker, cell = await draining(
        "--grace-seconds", "3600", "--backlog-bytes", "65536", code="print('ready')\n{wait}\nprint('x' * 10_000_000)"
    )
    gate.open()

    assert (await cell.outcome()).status is skep.CellStatus.FINISHED
    assert await worker.exit_status() == 0


async def test_cells_submitted_during_the_drain_run_on_the_other_worker(shard, draining, start_worker, gate):
    worker, cell = await draining()
    late = await shard.session("s").submit_many(["1", "2", "3"])
    other = await start_worker()
    gate.open()

    assert await worker.exit_status() == 0
    assert [(await each.outcome()).value for each in late] == [1, 2, 3]
    assert (await cell.outcome()).ok
    assert (await shard.session("s").info()).owner == other.worker_id


async def test_the_move_is_reported_and_no_cell_is_retried(shard, draining, start_worker, gate):
    worker, _ = await draining()
    late = await shard.session("s").submit("1")
    other = await start_worker()
    gate.open()
    await worker.exit_status()

    assert (await late.outcome()).attempt == 1
    events = [event async for event in shard.session("s").events()]
    [moved] = [event for event in events if event.kind == "session.moved"]
    assert (moved.worker_id, moved.epoch) == (other.worker_id, 2)
    assert "released" in moved.reason
    assert "cell.retried" not in {event.kind for event in events}


async def test_cells_after_the_running_one_wait_for_another_worker(shard, run_logged, start_worker, gate, first_output):
    settings = shard.settings
    flags = ["--redis", settings.redis_url, "--prefix", settings.prefix, "--commit-window", "1"]
    worker = await run_logged("-m", "skep_workers", *flags)
    await worker.says("worker.ready")
    running, *queued = await shard.session("s").submit_many([f"print('ready')\n{gate.wait}", "1", "2", "3"])
    await first_output(running)
    worker.send_signal(signal.SIGTERM)
    await worker.says("worker.draining")
    gate.open()
    assert await worker.exit_status() == 0
    assert (await shard.session("s").info()).pending == 3

    await start_worker()
    assert [(await each.outcome()).value for each in queued] == [1, 2, 3]


async def test_a_draining_worker_claims_no_session(shard, draining, start_worker, gate):
    worker, _ = await draining()
    late = await shard.session("another").submit("1")
    other = await start_worker()

    assert (await late.outcome()).ok
    assert (await shard.session("another").info()).owner == other.worker_id
    gate.open()
    await worker.exit_status()


LONG = "n += 1\nprint('ready')\n{wait}\nn"


async def test_a_cell_that_outlasts_the_grace_period_is_retried_by_another_owner(shard, draining, start_worker, gate):
    worker, cell = await draining("--grace-seconds", "0.1", code=LONG, before=shard.session("s"))
    other = await start_worker()
    assert await worker.exit_status() == 0
    gate.open()

    outcome = await cell.outcome()
    assert (outcome.status, outcome.value, outcome.attempt) == (skep.CellStatus.FINISHED, 2, 2)
    events = [event async for event in shard.session("s").events()]
    [retried] = [event for event in events if event.kind == "cell.retried"]
    assert (retried.cell_id, "worker shut down" in retried.reason) == (cell.id, True)
    [moved] = [event for event in events if event.kind == "session.moved"]
    assert (moved.worker_id, "worker shut down" in moved.reason) == (other.worker_id, True)
    assert [event.kind for event in events if event.cell_id == cell.id].count("error") == 0


async def test_a_second_signal_ends_the_grace_period(shard, draining, start_worker, gate):
    worker, cell = await draining("--grace-seconds", "3600")
    worker.send_signal(signal.SIGTERM)
    assert await worker.exit_status() == 0
    await start_worker()
    gate.open()

    outcome = await cell.outcome()
    assert (outcome.status, outcome.attempt) == (skep.CellStatus.FINISHED, 2)


@pytest.mark.parametrize("options", [{"max_attempts": 1}, {"on_worker_loss": "fail"}], ids=["one attempt", "fail"])
async def test_a_cell_that_may_not_run_again_is_lost_with_the_shutdown_as_reason(
    shard, draining, start_worker, options
):
    worker, cell = await draining("--grace-seconds", "0.1", **options)
    after = await shard.session("s").submit("'after'")

    outcome = await cell.outcome()
    assert (outcome.status, outcome.error.ename, outcome.attempt) == (skep.CellStatus.LOST, "WorkerLost", 1)
    assert outcome.error.evalue.startswith("worker shut down")
    errors = [event async for event in cell.events() if event.kind == "error"]
    assert [event.evalue for event in errors] == [outcome.error.evalue]
    assert await worker.exit_status() == 0
    await start_worker()
    assert (await after.outcome()).value == "after"


async def test_a_cell_that_is_drained_again_and_again_has_max_attempts(shard, run_logged, start_worker, first_output):
    settings, session = shard.settings, shard.session("s")
    cell = await session.submit("import os, signal\nprint(os.getpid())\nsignal.pause()", max_attempts=2)
    seen = []
    for _ in range(2):
        flags = ["--redis", settings.redis_url, "--prefix", settings.prefix, "--grace-seconds", "0"]
        worker = await run_logged("-m", "skep_workers", *flags)
        async for event in cell.events():
            if event.kind == "output" and event.attempt > len(seen):
                seen.append(event.attempt)
                break
        worker.send_signal(signal.SIGTERM)
        assert await worker.exit_status() == 0

    outcome = await cell.outcome()
    assert (seen, outcome.status, outcome.attempt) == ([1, 2], skep.CellStatus.LOST, 2)
    assert "worker shut down" in outcome.error.evalue
    assert "max_attempts=2" in outcome.error.evalue


async def test_a_cell_interrupted_by_its_user_ends_as_interrupted_while_its_worker_shuts_down(draining):
    shy = "import time\nprint('ready')\nwhile True:\n    try: time.sleep(3600)\n    except KeyboardInterrupt: break"
    worker, cell = await draining("--grace-seconds", "3600", code=shy)
    assert await cell.interrupt()
    worker.send_signal(signal.SIGTERM)

    assert (await cell.outcome()).ok  # it has caught the exception
    assert await worker.exit_status() == 0


async def test_a_cell_whose_process_starts_when_the_drain_begins_runs_elsewhere_as_its_first_attempt(
    shard, run_logged, start_worker
):
    settings = shard.settings
    worker = await run_logged("-m", "skep_workers", "--redis", settings.redis_url, "--prefix", settings.prefix)
    await worker.says("worker.ready")
    zygote = await zygote_of(shard.session("other"))
    os.kill(zygote, signal.SIGSTOP)  # no process can be forked now
    cell = await shard.session("s").submit("'ran'", max_attempts=1)
    await worker.says("session.claimed", session_id="s")
    worker.send_signal(signal.SIGTERM)
    await worker.says("worker.draining")
    os.kill(zygote, signal.SIGCONT)
    assert await worker.exit_status() == 0
    await start_worker()

    outcome = await cell.outcome()
    assert (outcome.value, outcome.attempt) == ("ran", 1)
    started = [event.epoch async for event in cell.events() if event.kind == "cell.started"]
    assert started == [2]


async def test_a_cell_that_crashes_during_a_drain_is_crashed(draining, gate):
    worker, cell = await draining(code="import os\nprint('ready')\n{wait}\nos._exit(3)")
    gate.open()

    assert (await cell.outcome()).status is skep.CellStatus.CRASHED
    assert await worker.exit_status() == 0


async def test_an_idle_session_is_released_at_once(shard, start_worker):
    worker = await start_worker()
    await shard.session("s").run("n = 1")

    assert await worker.stop() == 0
    info = await shard.session("s").info()
    assert (info.owner, info.pending, info.state) == (None, 0, skep.SessionState.OPEN)


async def test_an_idle_session_is_not_activated_on_the_draining_worker_again(shard, draining, run_logged, gate):
    idle = shard.session("idle")
    worker, _ = await draining(before=idle)
    other = await run_logged(
        "-m", "skep_workers", "--redis", shard.settings.redis_url, "--prefix", shard.settings.prefix
    )
    await other.says("worker.ready")

    assert (await idle.run("n")).value == 1
    await other.says("session.claimed")
    assert not any("session.handed_on" in line for line in other.lines)
    gate.open()
    await worker.exit_status()


async def test_an_activation_that_reaches_a_draining_worker_is_passed_on(shard, draining, eventually, gate):
    worker, _ = await draining()
    await shard.session("late").submit("1")
    redis, keys = shard._link.redis, shard._link.keys
    await redis.zadd(keys.waiting, {"late": 1e15})  # so late that the recovery does not activate it
    await redis.delete(keys.arq_queue)  # the worker that picked the activation first chose the one that now drains
    async for info in shard.workers():
        await redis.xadd(keys.mailbox(info.id), {"k": "activate", "s": "late"})

    await eventually(lambda: redis.zcard(keys.arq_queue))
    gate.open()
    await worker.exit_status()


async def test_a_worker_leaves_no_file_and_no_process(shard, run_logged, process_end, tmp_path):
    settings = shard.settings
    flags = ["--redis", settings.redis_url, "--prefix", settings.prefix]
    worker = await run_logged("-m", "skep_workers", *flags, TMPDIR=str(tmp_path))
    await worker.says("worker.ready")
    session = shard.session("s")
    directory = (await session.run("import os; open('left', 'w').close(); os.getcwd()")).value
    pid, zygote = await pid_of(session), await zygote_of(session)
    assert directory.startswith(str(tmp_path))
    worker.send_signal(signal.SIGTERM)
    await worker.exit_status()

    await process_end(pid)
    await process_end(zygote)
    assert list(tmp_path.iterdir()) == []


async def test_a_worker_that_left_has_no_keys_in_redis(shard, start_worker):
    worker = await start_worker()
    await shard.session("s").run("1")
    await worker.stop()

    left = [key.decode() async for key in shard._link.redis.scan_iter(match=f"{shard.settings.prefix}:worker*")]
    assert left == []
