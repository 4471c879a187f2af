"""In a namespace with one sabotaged variable exactly the names that reach it are lost.

`python -m tests.integration.checkpoints.sabotage --examples 20000` checks more of them.
"""

import pytest

from .sabotage.namespace import VARIABLES, generate
from .sabotage.oracle import check_all, shown, smaller, verdict
from .sabotage.process import Lab

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

EXAMPLES = 500
BATCH = 50
TRIES = 30  # to make a failing namespace smaller


@pytest.mark.parametrize("first", range(0, EXAMPLES, BATCH))
async def test_exactly_the_names_that_reach_the_sabotaged_variable_are_lost_and_reported(first):
    async with Lab() as lab:
        wrong = await check_all(lab, range(first, first + BATCH))
        if wrong:
            seed = min(wrong, key=lambda each: len(wrong[each]))
            least = await smaller(lab, generate(seed), TRIES)
            pytest.fail(f"seeds {sorted(wrong)}\n{shown(least, await verdict(lab, least))}", pytrace=False)


def test_a_namespace_has_fifty_variables_and_is_the_same_for_a_seed():
    namespaces = [generate(seed) for seed in range(50)]

    assert all(len(namespace.names) >= VARIABLES for namespace in namespaces)
    assert [namespace.cells for namespace in namespaces] == [generate(seed).cells for seed in range(50)]


def test_names_are_lost_by_what_they_reach_however_far():
    for namespace in map(generate, range(50)):
        lost = namespace.lost
        assert namespace.sabotage.bad in lost
        assert lost <= namespace.names
        assert len(lost) < len(namespace.names)
