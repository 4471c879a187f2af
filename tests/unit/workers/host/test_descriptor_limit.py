"""A worker raises its descriptor limit for its sessions, or accepts fewer sessions."""

import json
import subprocess
import sys

import pytest

ASKED = """
import json, resource, sys
from skep_shared.errors import StartError
from skep_shared.settings import WorkerSettings
from skep_workers.host.descriptor_limit import DescriptorLimit
soft, hard, sessions = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
try:
    fitting = DescriptorLimit().make_room(WorkerSettings.load(max_resident=sessions)).max_resident
except StartError as exc:
    fitting = str(exc)
print(json.dumps([fitting, *resource.getrlimit(resource.RLIMIT_NOFILE)]))
"""


def asked(soft, hard, sessions):
    """Return how many of these sessions fit into a process with these limits, and its limits afterwards."""
    command = [sys.executable, "-c", ASKED, str(soft), str(hard), str(sessions)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(found.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("soft", "hard", "sessions", "found"),
    [
        (1024, 1024, 100, [100, 1024, 1024]),  # enough as it is
        (256, 1024, 100, [100, 950, 1024]),  # raised as far as needed
        (256, 550, 100, [50, 550, 550]),  # as far as it may: fewer sessions
    ],
)
def test_the_limit_is_raised_or_fewer_sessions_are_accepted(soft, hard, sessions, found):
    assert asked(soft, hard, sessions) == found


def test_a_limit_without_room_for_one_session_is_an_error_that_names_the_limit():
    assert asked(100, 120, 10)[0] == (
        "worker did not start: it may have 120 open files (ulimit -Hn), but one session needs 158"
    )
