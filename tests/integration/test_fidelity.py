"""What sessions hold is itself after their worker was killed: each case of the suite, and beside dill and cloudpickle.

`python -m tests.integration.fidelity` prints the table.
"""

import asyncio

import pytest

from .fidelity import forked, peers, suite

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def report():
    """The whole suite's result: it runs once."""
    return asyncio.run(suite.run())


@pytest.mark.parametrize("case", suite.CASES, ids=lambda case: case.id)
def test_restored_on_another_worker_it_is_still_itself(report, case):
    if case.missing:
        pytest.skip(f"not run: {', '.join(case.missing)} is not here (packages: pip install -e '.[fidelity]')")
    assert report.verdicts["skep"][case.id] == ""


@pytest.fixture(scope="module")
def forks():
    """What came of each case in a fork."""
    return asyncio.run(forked.run([case for case in suite.CASES if not case.missing]))


@pytest.mark.parametrize("case", [case for case in suite.CASES if not case.missing], ids=lambda case: case.id)
def test_in_a_fork_it_is_what_it_is_after_a_restore(forks, case):
    assert forks[case.id].verdict == ""


def test_most_forks_are_of_live_processes(forks):
    assert sum(fork.is_live for fork in forks.values()) > 0.9 * len(forks)


def test_all_that_dill_or_cloudpickle_restores_is_restored(report):
    if not peers.are_installed():
        pytest.skip("not run: dill is not installed (pip install -e '.[fidelity]')")
    assert report.behind() == []


def test_there_are_at_least_200_cases_and_each_has_a_name_of_its_own():
    assert len(suite.CASES) >= 200
    assert len({case.id for case in suite.CASES}) == len(suite.CASES)
