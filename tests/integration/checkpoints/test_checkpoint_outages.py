"""Redis does not answer when a process has ended: the next process has the state of the cells that will commit."""

import asyncio
from pathlib import Path

import pytest

from ..session_processes import OWN_NAME, parent_of, pid_named

pytestmark = pytest.mark.anyio

CRASH = "import os; os._exit(3)"


@pytest.fixture
def redis_server(stoppable_server):
    """A server for this test only, in place of the shared one."""
    return stoppable_server


def has_session_process(zygote):
    """Return whether a process of this zygote has reported its start: then its thread for the host's messages runs."""
    children = Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split()
    return any(len(list(Path("/proc").glob(f"{child}/task/*"))) > 1 for child in children)


async def test_a_crash_after_a_cell_whose_commit_is_pending_loses_nothing_of_it(
    shard, redis_server, start_worker, gate, process_end, eventually
):
    await start_worker("--lease-seconds", "60")
    session = shard.session("s")
    pid = pid_named((await session.run(f"x = 1; {OWN_NAME}")).value)
    zygote = parent_of(pid)
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
