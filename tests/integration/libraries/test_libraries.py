"""Objects of libraries are themselves live, after a hibernation, in a fork, and after their worker was killed.

`make test-libraries` runs this in an environment of its own, with each library's newest version.
"""

from collections import Counter

import pytest

from . import suite
from .groups import CASES

pytestmark = pytest.mark.timeout(3600)  # the first test has the run of all cases in it, minutes on quiet cores


@pytest.fixture(scope="session")
def verdicts(request):
    """What came of each case that is going to be asserted; `-k` chooses."""
    chosen = {item.callspec.params["case"].id for item in request.session.items if "case" in item.fixturenames}
    return suite.run_all([case for case in CASES if case.id in chosen])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_it_is_itself_in_every_way(verdicts, case):
    verdict = verdicts[case.id]
    failures = [f"{way}: {verdict.get(way, 'not run')}" for way in suite.WAYS if verdict.get(way, "not run")]
    if failures:
        pytest.fail("\n".join(failures), pytrace=False)


def test_each_case_has_a_name_of_its_own():
    assert {name: count for name, count in Counter(case.id for case in CASES).items() if count > 1} == {}
