"""The workflow of the public CI."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def jobs():
    """The jobs by name."""
    return yaml.safe_load((TOP / ".github" / "workflows" / "ci.yml").read_text())["jobs"]


def test_each_make_target_that_the_workflow_runs_exists(jobs):
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    targets = {target for command in commands for target in re.findall(r"^make ([a-z-]+)", command, re.MULTILINE)}
    listed = subprocess.run(["make", "help"], cwd=TOP, capture_output=True, text=True, check=True).stdout

    assert targets
    assert targets <= set(re.findall(r"make ([a-z-]+)", listed))


def test_each_python_that_the_project_names_is_tested(jobs):
    named = re.findall(r"Python :: (3\.\d+)", (TOP / "pyproject.toml").read_text())

    assert jobs["test"]["strategy"]["matrix"]["python"] == named
