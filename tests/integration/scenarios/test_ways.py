"""That each scenario runs in each way, except those that are left out by name."""

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from .conftest import WAYS, scenario_of
from .left_out import HTTP

LEAST_OVER_HTTP = 60
COLLECT_SECONDS = 50


@pytest.fixture
def scenarios() -> dict[str, set[str]]:
    """The scenarios that pytest collects in this folder, for each way."""
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    printed = subprocess.run(
        [
            sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", f"--ignore={__file__}",
            str(Path(__file__).parent),
        ],
        stdout=subprocess.PIPE, text=True, check=True, timeout=COLLECT_SECONDS, env=env,
    ).stdout  # fmt: skip
    found = defaultdict(set)
    for line in printed.splitlines():
        _, is_test, name = line.partition("::")
        if is_test:
            way, scenario = scenario_of(name)
            found[way].add(scenario)
    return found


def test_each_scenario_runs_in_each_way_or_is_left_out_by_name(scenarios):
    assert scenarios.keys() == set(WAYS)
    assert scenarios["blocking"] == scenarios["asynchronous"]
    assert scenarios["asynchronous"] - scenarios["http"] == HTTP.keys()
    assert len(scenarios["http"]) >= LEAST_OVER_HTTP
