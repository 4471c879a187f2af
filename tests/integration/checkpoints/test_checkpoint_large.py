"""A state of more bytes than a worker buffers before it stores some of them."""

import pytest

import skep
from skep_workers.host.checkpoint.writer import PENDING_BYTES

pytestmark = pytest.mark.anyio

MEGABYTES = 3 * PENDING_BYTES // 2**20
FILL = f"import random\nlarge = [random.Random(n).randbytes(2**20) for n in range({MEGABYTES})]"
KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
IS_WHOLE = f"all(random.Random(n).randbytes(2**20) == large[n] for n in range({MEGABYTES}))"


async def test_a_snapshot_larger_than_a_worker_buffers_is_stored_and_restored(session):
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


WRITES = {
    "an item": "array[7] += 1",
    "everything": "array *= 3",
    "through a view": "array.view('u1')[5:-5:1000] ^= 255",
    "through another variable": "alias[1] = [-1, array[::-1]]; alias[1][1][3] = 8",
    "by a system call": "import os\nread, write = os.pipe()\nos.write(write, b'x' * 800)\nos.readv(read, [array])",
    "from a thread": "import threading\nt = threading.Thread(target=array.fill, args=(4,)); t.start(); t.join()",
    "by a new array in its place": "shape = array.shape\ndel array, alias\narray = np.ones(shape); alias = [0, 0]",
    "memory given back": "array.resize(2_000_000, refcheck=False)",
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
async def test_a_change_of_a_long_unchanged_array_is_saved(session, write):
    await session.run(
        "import numpy as np\narray = np.random.default_rng(1).random(3_000_000); alias = [array, 0]; n = 0"
    )
    for _ in range(5):
        await session.run("n += 1")
    sums = "import hashlib; hashlib.sha256(array).hexdigest(), array.shape, n"
    await session.run(write)
    after = (await session.run(sums)).value
    await session.run(KILL)
    assert (await session.run(sums)).value == after

    for _ in range(3):  # and the restored array again
        await session.run("n += 1")
    await session.run("array[-1] = n")
    after = (await session.run(sums)).value
    await session.run(KILL)
    assert (await session.run(sums)).value == after
