"""The limit of open files: a worker raises its own as its sessions need, and sessions keep the original limit."""

import resource

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.real_start]

FIRST = 300
START = f"""
import resource, runpy
resource.setrlimit(resource.RLIMIT_NOFILE, ({FIRST}, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
runpy.run_module("skep_workers", run_name="__main__", alter_sys=True)
"""


async def test_a_worker_raises_its_limit_and_not_that_of_its_sessions(shard, run_logged):
    settings = shard.settings
    flags = ("--redis", settings.redis_url, "--prefix", settings.prefix, "--max-resident", "50")
    worker = await run_logged("-c", START, *flags)
    await worker.says("worker.ready")

    assert resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)[0] == 550
    limits = await shard.session("s").run("import resource; resource.getrlimit(resource.RLIMIT_NOFILE)")
    assert limits.value[0] == FIRST
