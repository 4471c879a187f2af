"""Configured names of blocking calls, and the statistics a worker reports about its cells."""

import json

import pytest

pytestmark = pytest.mark.anyio

WORKER = ("-m", "skep_workers")


async def test_a_worker_uses_configured_names_of_blocking_calls_and_reports_its_counts(shard, run_logged):
    settings = shard.settings
    detection = json.dumps({"blocking": ["json.dumps"], "not_blocking": ["time.sleep"]})
    worker = await run_logged(
        *WORKER,
        SKEP_REDIS_URL=settings.redis_url,
        SKEP_PREFIX=settings.prefix,
        SKEP_DETECTION=detection,
        SKEP_AST_CACHE_SIZE="0",
        SKEP_LEASE_SECONDS="1",
    )
    session = shard.session("s")
    for cell_id, code in (("blocks", "import json\njson.dumps(1)"), ("does-not", "import time\ntime.sleep(0)")):
        (await session.run(code, cell_id=cell_id)).raise_for_status()
    last = await session.run("1", cell_id="last")
    blocks, does_not = [await worker.says("cell.finished", cell_id=cell_id) for cell_id in ("blocks", "does-not")]

    assert last.value == 1
    assert (blocks["session_id"], blocks["mode"], blocks["blocking_call"]) == ("s", "blocking_sync", 1)
    assert (does_not["mode"], "blocking_call" in does_not) == ("simple_sync", False)
    counters = {}
    while "detected.blocking_call" not in counters:  # they are sent with a heartbeat
        [told] = [worker async for worker in shard.workers()]
        counters = told.counters
    assert counters["detected.blocking_call"] == 1
