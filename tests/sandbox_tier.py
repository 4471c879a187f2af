"""The tier of the sandbox that all sessions of the tests in session, integration and chaos run in.

SKEP_TEST_SANDBOX=basic chooses it; `make test-sandbox TIER="basic strict"` runs all of these tests in one tier after the
other. A test that starts a zygote passes the tier to it. Workers get it as SKEP_SANDBOX in their environment, from
`sandboxed_workers`.

`python -m tests.sandbox_tier userns strict` prints which of these tiers this machine has, and the reasons why not the others
on stderr.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from .sandbox_differences import difference_of

VARIABLE: Final = "SKEP_TEST_SANDBOX"
NONE: Final = "none"
TIER: Final = os.environ.get(VARIABLE) or NONE
SESSIONS_ARE_USERS: Final = TIER == "strict"  # each session has a user of its own
HAS_LIVE_FORKS: Final = TIER == NONE  # otherwise forks are restored, see sandbox_differences.py
WORKER_VARIABLES: Final = ("SKEP_SANDBOX", "SKEP_SANDBOX_WRITE")


@contextmanager
def sandboxed_workers(*shared: Path) -> Iterator[None]:
    """Start workers in the tier meanwhile; their sessions may change the shared directories.

    A test and its sessions share files in them, as operators share a directory with all sessions.
    """
    values = {"SKEP_SANDBOX": TIER}
    if TIER != NONE:
        values["SKEP_SANDBOX_WRITE"] = json.dumps([*map(str, shared)])
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        yield


def expect_differences(item: pytest.Item) -> None:
    """Mark a test that differs in the tier: it must fail."""
    difference = difference_of(item.nodeid.removeprefix("tests/"), TIER)
    if difference is not None:
        item.add_marker(pytest.mark.xfail(reason=f"{difference.what}: {difference.reason}", strict=True))


def main(tiers: list[str]) -> None:
    """Print which of the tiers work here, in one line."""
    command = [sys.executable, "-m", "skep_workers.sandbox", "--json"]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout)["tiers"]
    print(*(tier for tier in tiers if found[tier]["works"]))
    for tier in tiers:
        if not found[tier]["works"]:
            print(f"tier {tier} is not tested, it doesn't work here: {found[tier]['reason']}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
