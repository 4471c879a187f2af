"""Redis does not answer just when a process has ended: the next one has the state of the cells that will commit."""

import asyncio
import secrets

import pytest

import skep
from skep_shared.settings import Settings

pytestmark = pytest.mark.anyio

CRASH = "import os; os._exit(3)"


@pytest.fixture
async def redis_server(tmp_path, stoppable_redis):
    """A server of the test's own, in place of the shared one."""
    return await stoppable_redis(tmp_path)


@pytest.fixture
async def shard(redis_server):
    settings = Settings.load(redis_url=redis_server.url, prefix=f"t-{secrets.token_hex(6)}")
    async with skep.connect(settings=settings) as cluster:
        yield cluster


async def test_a_crash_behind_a_cell_whose_commit_is_on_its_way_loses_nothing_of_it(
    shard, redis_server, start_worker, gate, process_end
):
    await start_worker("--lease-seconds", "60")
    session = shard.session("s")
    pid = (await session.run("x = 1; import os; os.getpid()")).value
    cells = await session.submit_many([f"{gate.wait}; x = 2", CRASH, "x"])
    async for event in cells[0].events():
        if event.kind == "cell.started":
            break
    redis_server.freeze()
    try:
        gate.open()
        await process_end(pid)
        await asyncio.sleep(0.5)  # the next process is started meanwhile, which nobody outside can hear of
    finally:
        redis_server.thaw()

    outcomes = [await cell.outcome() for cell in cells]
    assert [outcome.status.value for outcome in outcomes] == ["finished", "crashed", "finished"]
    assert outcomes[2].value == 2
