"""The worker that takes over logs each step of a takeover, so that one sees which step took how long."""

import pytest

pytestmark = pytest.mark.anyio


async def test_each_step_of_a_takeover_is_in_the_log(shard, start_worker, run_logged, first_output):
    session = shard.session("s")
    dying = await start_worker()
    await session.run("n = 1")
    await first_output(await session.submit("print('ready')\nimport time\ntime.sleep(600)"))
    other = await run_logged(
        "-m", "skep_workers", "--redis", shard.settings.redis_url, "--prefix", shard.settings.prefix
    )
    await other.says("worker.ready")
    await dying.kill()

    assert (await other.says("recovery"))["dead_workers"] == 1
    picked = await other.says("activation.picked")
    claimed = await other.says("session.claimed")
    restored = await other.says("session.restored")
    assert {entry["session_id"] for entry in (picked, claimed, restored)} == {"s"}
    assert picked["timestamp"] <= claimed["timestamp"] <= restored["timestamp"]
    assert picked["queued_ms"] >= 0
    assert restored["start_ms"] > 0
    assert restored["restore_ms"] > 0
