"""Every input that fuzzing has kept, and each target's own seeds, are received as the target demands."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import structlog

from .replay import replay
from .targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
WITH_A_WORKER = ("worker", "signed_worker")


def inputs_of(name):
    return sorted((CORPUS / name).iterdir())


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in WITH_A_WORKER])
def test_kept_inputs_are_received(name):
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50), cache_logger_on_first_use=False)
    try:
        replay(name, inputs_of(name))
    finally:
        structlog.configure(**before)


@pytest.mark.timeout(300)  # of which a busy machine needs a tenth: a worker's neighbour may take a minute
@pytest.mark.parametrize("name", WITH_A_WORKER)
def test_kept_inputs_are_received_by_a_worker(name):
    """In a process of its own: the worker is that process."""
    command = [sys.executable, "-m", "tests.fuzz.replay", name, *map(str, inputs_of(name))]
    with tempfile.TemporaryDirectory(prefix="skep-", dir="/tmp") as short:  # for unix sockets
        environment = os.environ | {"TMPDIR": short}
        root = Path(__file__).parents[2]
        found = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)

    assert found.returncode == 0, found.stderr[-4000:]
