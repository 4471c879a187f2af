"""The checker is only worth what it finds: with a bug in the scripts it must find something, and soon."""

import pytest

from .checker import check
from .scenario import Scenario
from .script_base import EQUIVALENT_BUG, SEEDED_BUGS
from .simulation import quiet_logs, simulate

MOST_SEEDS = 300

pytestmark = pytest.mark.timeout(300)


def first_catch(bug, seeds):
    """Give the first seed that shows the bug, and by what; None if none does."""
    with quiet_logs():
        for seed in seeds:
            scenario = Scenario.draw(seed)
            verdict = check(simulate(scenario, bugs=frozenset({bug})).history)
            if not verdict.is_valid and check(simulate(scenario).history).is_valid:
                return seed, dict(verdict.names)
    return None


@pytest.mark.parametrize("bug", SEEDED_BUGS)
def test_a_seeded_bug_is_caught(bug):
    assert first_catch(bug, range(MOST_SEEDS)) is not None


def test_the_event_id_is_compared_too_so_the_cursor_alone_can_not_go_wrong():
    """Not a bug that shows: with fence and event ids in place the cursor is a second lock on the same door."""
    assert first_catch(EQUIVALENT_BUG, range(30)) is None
