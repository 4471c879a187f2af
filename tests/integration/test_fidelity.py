"""What sessions hold is itself after their worker was killed: each case of the suite, and beside dill and cloudpickle.

`python -m tests.integration.fidelity` prints the table.
"""

import asyncio

import pytest

from .fidelity import forked, suite

pytestmark = pytest.mark.timeout(300)


# One test each, not one a case: tests run in several processes, and each that has a case would run the whole suite.
FORKED_EVERY = 4


def test_restored_on_another_worker_each_case_is_still_itself_and_so_is_all_that_peers_restore():
    report = asyncio.run(suite.run())
    present = [case for case in suite.CASES if not case.missing]

    assert {case.id: report.verdicts["skep"][case.id] for case in present if report.verdicts["skep"][case.id]} == {}
    assert report.behind() == []  # without dill installed there is nothing to be behind of


def test_in_a_fork_each_case_is_what_it_is_after_a_restore_and_most_forks_are_live():
    forks = asyncio.run(forked.run([case for case in suite.CASES if not case.missing][::FORKED_EVERY]))

    assert {name: fork.verdict for name, fork in forks.items() if fork.verdict} == {}
    assert sum(fork.is_live for fork in forks.values()) > 0.8 * len(forks)


def test_there_are_at_least_200_cases_and_each_has_a_name_of_its_own():
    assert len(suite.CASES) >= 200
    assert len({case.id for case in suite.CASES}) == len(suite.CASES)
