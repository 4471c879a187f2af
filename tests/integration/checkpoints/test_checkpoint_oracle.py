"""Random cells with crashes against the same cells without; `checkpoint_oracle.py` runs more of them, and longer."""

import pytest
from tests.integration.checkpoints.checkpoint_oracle import Oracle

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("seed", range(4))
async def test_a_session_that_crashes_repeatedly_has_the_state_of_one_that_never_does(shard, seed):
    async with Oracle(shard) as oracle:
        expected, actual = await oracle.compare(seed, 150)

    assert actual.splitlines() == expected.splitlines()
