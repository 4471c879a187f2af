"""A short soak on real parts: the guarantees hold with real processes, sockets and files too.

The long one is `python -m tests.chaos --minutes 10 --seed N`; its history is checked again with `check`.
"""

import pytest

from ..checker.checker import check
from ..checker.history import History
from .soak import Plan, soak
from .soak_faults import RATES
from .soak_figures import figures_of

PLAN = Plan(seed=3, seconds=16.0, sessions=12, fault_every=0.6, submit_every=0.4)
MOST_SECONDS = 260  # waits for faults and drains are at most 60 s each, and everything else is bounded


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A soak that is run once for all tests of this module, and has ended."""
    parent = tmp_path_factory.mktemp("soak")
    result = soak(PLAN, parent=parent)
    assert list(parent.iterdir()) == []
    return result


@pytest.mark.timeout(MOST_SECONDS)
def test_nothing_is_lost_doubled_or_torn(result):
    assert [str(anomaly) for anomaly in result.verdict.anomalies] == []


@pytest.mark.timeout(MOST_SECONDS)
def test_every_kind_of_fault_has_happened(result):
    labels = {op["label"] for op in result.history.ops if op["op"] == "fault"}
    assert {kind for kind, _ in RATES} - labels <= {"failpoint"}  # armed, and triggered if the worker reaches that step


@pytest.mark.timeout(MOST_SECONDS)
def test_cells_were_run_and_sessions_moved(result):
    assert result.verdict.metrics["cells"] > 50
    assert result.figures.takeovers > 0


@pytest.mark.timeout(MOST_SECONDS)
def test_a_saved_history_has_the_same_verdict(result, tmp_path):
    result.history.save(tmp_path / "history.jsonl")
    loaded = History.load(tmp_path / "history.jsonl")
    assert check(loaded).anomalies == result.verdict.anomalies
    assert figures_of(loaded) == result.figures
