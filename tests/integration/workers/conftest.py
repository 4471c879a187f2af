"""What the tests of workers have in common."""

import subprocess
import sys

import pytest

from skep_workers.sandbox.tiers import Report


@pytest.fixture(scope="session")
def report() -> Report:
    """What the sandbox can do on this machine."""
    command = [sys.executable, "-m", "skep_workers.sandbox", "--json"]
    return Report.from_json(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout)
