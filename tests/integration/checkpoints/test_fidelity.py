"""Objects are restored faithfully after a worker was killed: each case of the suite, compared with dill and cloudpickle.

`python -m tests.integration.checkpoints.fidelity` prints the table.
"""

import asyncio

import pytest

from ...sandbox_tier import HAS_LIVE_FORKS
from .fidelity import forked, suite

pytestmark = pytest.mark.timeout(300)


# One test for all cases: tests run in several processes, and each process with a case would run the whole suite.
FORKED_EVERY = 4


def test_each_case_is_restored_on_another_worker_and_so_is_everything_that_peers_restore():
    report = asyncio.run(suite.run())
    present = [case for case in suite.CASES if not case.missing]

    assert {case.id: report.verdicts["skep"][case.id] for case in present if report.verdicts["skep"][case.id]} == {}
    assert report.behind() == []  # empty if dill is not installed


def test_each_case_is_the_same_in_a_fork_as_after_a_restore_and_most_forks_are_live():
    forks = asyncio.run(forked.run([case for case in suite.CASES if not case.missing][::FORKED_EVERY]))

    assert {name: fork.verdict for name, fork in forks.items() if fork.verdict} == {}
    assert sum(fork.is_live for fork in forks.values()) >= 0.8 * len(forks) * HAS_LIVE_FORKS


def test_there_are_at_least_200_cases_with_different_names():
    assert len(suite.CASES) >= 200
    assert len({case.id for case in suite.CASES}) == len(suite.CASES)
