"""Redis does not answer just when a process has ended: the next one has the state of the cells that will commit."""

import asyncio
from pathlib import Path

import pytest

pytestmark = pytest.mark.anyio

CRASH = "import os; os._exit(3)"


@pytest.fixture
def redis_server(stoppable_server):
    """A server of the test's own, in place of the shared one."""
    return stoppable_server


def has_session_process(zygote):
    """Tell whether a process of this zygote has said hello: it has the thread then that hears the host."""
    children = Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split()
    return any(len(list(Path("/proc").glob(f"{child}/task/*"))) > 1 for child in children)


async def test_a_crash_behind_a_cell_whose_commit_is_on_its_way_loses_nothing_of_it(
    shard, redis_server, start_worker, gate, process_end, eventually
):
    await start_worker("--lease-seconds", "60")
    session = shard.session("s")
    pid, zygote = (await session.run("x = 1; import os; os.getpid(), os.getppid()")).value
    cells = await session.submit_many([f"{gate.wait}; x = 2", CRASH, "x"])
    async for event in cells[0].events():
        if event.kind == "cell.started":
            break
    redis_server.freeze()
    try:
        gate.open()
        await process_end(pid)
        await eventually(lambda: asyncio.to_thread(has_session_process, zygote))
    finally:
        redis_server.thaw()

    outcomes = [await cell.outcome() for cell in cells]
    assert [outcome.status.value for outcome in outcomes] == ["finished", "crashed", "finished"]
    assert outcomes[2].value == 2
