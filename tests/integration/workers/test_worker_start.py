"""Starting a worker: both command lines start the same worker, and each error is one line."""

import json
import signal
import sys
from pathlib import Path

import pytest

import skep

from ..session_processes import pid_of

pytestmark = [pytest.mark.anyio, pytest.mark.real_start]

ARQ = [str(Path(sys.executable).parent / "arq"), "skep_workers.WorkerSettings"]  # run by this interpreter
SKEP = ["-m", "skep_workers"]


@pytest.mark.parametrize("command", [SKEP, ARQ], ids=["skep_workers", "arq"])
async def test_settings_come_from_the_environment(shard, run_logged, command):
    settings = shard.settings
    worker = await run_logged(*command, SKEP_REDIS_URL=settings.redis_url, SKEP_PREFIX=settings.prefix)
    ready = await worker.says("worker.ready")

    assert [info.id async for info in shard.workers()] == [ready["worker_id"]]
    assert (await shard.session("s").run("6 * 7")).value == 42


@pytest.mark.parametrize("command", [SKEP, ARQ], ids=["skep_workers", "arq"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_worker_cleanly(shard, run_logged, process_end, command, number):
    settings = shard.settings
    worker = await run_logged(*command, SKEP_REDIS_URL=settings.redis_url, SKEP_PREFIX=settings.prefix)
    await worker.says("worker.ready")
    pid = await pid_of(shard.session("s"))
    worker.send_signal(number)
    await worker.says("worker.left")

    assert await worker.exit_status() == 0
    await process_end(pid)
    assert [info async for info in shard.workers()] == []
    assert not [line for line in worker.lines if "Traceback" in line]
    assert (await shard.session("s").info()).owner is None


async def test_flags_win_over_the_environment(shard, run_logged):
    settings = shard.settings
    flags = ["--prefix", settings.prefix, "--max-resident", "7", "--worker-labels", "zone=a"]
    worker = await run_logged(*SKEP, *flags, SKEP_REDIS_URL=settings.redis_url, SKEP_PREFIX="other")
    await worker.says("worker.ready")

    [info] = [info async for info in shard.workers()]
    assert (info.capacity, info.labels) == (7, {"zone": "a"})


async def test_an_evicting_redis_is_refused(own_redis_server, own_redis, run_logged):
    await own_redis.config_set("maxmemory-policy", "allkeys-lru")
    worker = await run_logged(*SKEP, SKEP_REDIS_URL=own_redis_server.url)

    assert await worker.exit_status() == 1
    [line] = worker.lines
    assert "maxmemory-policy" in json.loads(line)["error"]
    assert "noeviction" in json.loads(line)["error"]
    assert await own_redis.dbsize() == 0


async def test_an_unreachable_redis_is_named_without_its_password(run_logged, tmp_path):
    worker = await run_logged(*SKEP, "--redis", f"unix://:secret@{tmp_path}/none.sock")

    assert await worker.exit_status() == 1
    [line] = worker.lines
    assert f"{tmp_path}/none.sock" in json.loads(line)["error"]
    assert "secret" not in line


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--lease-seconds", "0"], ["lease_seconds", "'0'", "0.5"]),
        (["--max-resident", "many"], ["max_resident", "'many'"]),
        (["--redis", "http://example.org"], ["redis_url", "http://example.org", "redis://"]),
        (["--prefix", "a b"], ["prefix", "'a b'"]),
        (["--worker-labels", "zone"], ["worker_labels", "zone"]),
        (["--directory", "below/here"], ["directory", "'below/here'", "absolute"]),
        (["--no-such-flag"], ["--no-such-flag"]),
    ],
)
async def test_a_bad_flag_is_named_with_its_value_and_limit(run_logged, flags, words):
    worker = await run_logged(*SKEP, *flags)

    assert await worker.exit_status() == 2
    message = worker.lines[-1]
    assert all(word in message for word in words), message
    assert not [line for line in worker.lines if "Traceback" in line]


async def test_a_bad_value_in_the_environment_is_named(run_logged):
    worker = await run_logged(*SKEP, SKEP_LEASE_SECONDS="soon")

    assert await worker.exit_status() == 2
    assert "lease_seconds" in worker.lines[-1]


async def test_two_workers_on_one_shard_have_ids_of_their_own(shard, start_worker):
    workers = [await start_worker(), await start_worker()]

    assert {info.id async for info in shard.workers()} == {worker.worker_id for worker in workers}


async def test_shards_with_different_prefixes_do_not_see_each_other(shard, start_worker):
    await start_worker()
    await shard.session("s").run("n = 1")
    # Not the default prefix, which a test before this one may have used.
    settings = shard.settings.model_copy(update={"prefix": f"{shard.settings.prefix}-other"})
    async with skep.connect(settings=settings) as other:
        assert [info async for info in other.workers()] == []
        with pytest.raises(skep.NotFound):
            await other.session("s").info()
