"""The checker must find each bug that is seeded into the scripts, within few seeds."""

import pytest

from skep_shared.requirements import Requirements
from skep_workers.host.residency.cells.batch_predecessors import Predecessors

from ..model.script_base import CLAIM_BUG, EQUIVALENT_BUG, SEEDED_BUGS
from ..simulation.scenario import Scenario
from ..simulation.simulation import quiet_logs, simulate
from .checker import check

MOST_SEEDS = 300

pytestmark = pytest.mark.timeout(900)  # some bugs take 10 s of processor time; the machine may be busy


def first_catch(bug, seeds):
    """Return the first seed that shows the bug, and by what; None if none does."""
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


def test_a_missing_cursor_check_has_no_effect_because_event_ids_are_compared_too():
    """This mutation has no visible effect: the owner token and the event ids already prevent what the cursor prevents."""
    assert first_catch(EQUIVALENT_BUG, range(30)) is None


@pytest.fixture
def unplaced(monkeypatch):
    """Workers that take every session they can claim, whatever it requires."""
    monkeypatch.setattr(Requirements, "are_met_by", lambda *_: True)


def test_a_claim_in_a_weaker_sandbox_is_caught(unplaced):
    assert "weaker sandbox" in first_catch(CLAIM_BUG, range(MOST_SEEDS))[1]


def test_the_claim_alone_keeps_sessions_from_workers_with_a_weaker_sandbox(unplaced):
    """Without placement a session may wait for long, but it never runs in a weaker sandbox than it asks for."""
    with quiet_logs():
        for scenario in filter(lambda each: each.has_tiers, map(Scenario.draw, range(60))):
            assert "weaker sandbox" not in check(simulate(scenario).history).names


def test_an_owner_that_takes_an_earlier_owners_failure_for_a_success_is_caught(monkeypatch):
    async def succeeded(*_):
        return None

    with quiet_logs():
        for seed in range(MOST_SEEDS):
            scenario = Scenario.draw(seed)
            with monkeypatch.context() as patch:
                patch.setattr(Predecessors, "_failure_in", succeeded)
                verdict = check(simulate(scenario).history)
            if not verdict.is_valid:
                break
        assert "ran after a failure" in verdict.names
        assert check(simulate(scenario).history).is_valid
