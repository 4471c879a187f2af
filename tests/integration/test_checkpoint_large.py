"""State of more bytes than a worker takes in before it has stored some of them."""

import pytest

import skep
from skep_workers.host.checkpoints import PENDING_BYTES

pytestmark = pytest.mark.anyio

MEGABYTES = 3 * PENDING_BYTES // 2**20
FILL = f"import random\nlarge = [random.Random(n).randbytes(2**20) for n in range({MEGABYTES})]"
KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
IS_WHOLE = f"all(random.Random(n).randbytes(2**20) == large[n] for n in range({MEGABYTES}))"


async def test_a_snapshot_larger_than_what_may_wait_is_stored_and_restored(session):
    cell = await session.submit(FILL)
    outcome = await cell.outcome(timeout=20)
    assert (outcome.status, outcome.checkpoint) == (skep.CellStatus.FINISHED, "1-0")

    assert (await session.run(KILL)).status is skep.CellStatus.CRASHED

    assert (await session.run(IS_WHOLE)).value is True


async def test_a_cell_that_changes_nothing_does_not_overtake_the_snapshot_before_it(session):
    fill = f"import random\nlarge = random.Random(1).randbytes({MEGABYTES} * 2**20)"
    cells = await session.submit_many([fill, "pass", "pass"])
    outcomes = [await cell.outcome(timeout=30) for cell in cells]

    assert [outcome.checkpoint for outcome in outcomes[1:]] == ["1-0", "1-0"]
    assert (await session.run(KILL)).status is skep.CellStatus.CRASHED
    assert (await session.run("len(large)")).value == MEGABYTES * 2**20
