"""A command that the tests fork is like one that was executed."""

import os
import signal
import subprocess
import sys

import pytest

from . import commands
from .commands import skep_command

WAYS = ["executed"] if "SKEP_TEST_REAL_START" in os.environ else ["forked", "executed"]


@pytest.fixture(scope="module", autouse=True)
def workers_are_sandboxed():
    """Nothing: a file that runs without --redis has no sandbox, and is refused if the environment asks for one."""


@pytest.fixture(params=WAYS, autouse=True)
def way(request, monkeypatch):
    """How the test's commands start."""
    if request.param == "executed":
        monkeypatch.setattr(commands, "interpreter", sys.executable)
    return request.param


@pytest.fixture
def waiting(settings):
    """A command that waits for a worker, and has reported this on stderr."""
    place = ["--redis", settings.redis_url, "--prefix", settings.prefix]
    command = skep_command("exec", "1", "--session", "s", *place)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "no worker is alive there" in process.stderr.readline()
        yield process
        process.kill()


def test_its_status_and_what_it_writes_arrive(tmp_path):
    done = subprocess.run(skep_command("run", "nope.py"), capture_output=True, text=True, cwd=tmp_path, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (2, "", "skep: nope.py: no such file or directory\n")


def test_it_has_the_environment_and_the_directory_it_was_given(tmp_path):
    (tmp_path / "book.ipynb").write_text("no notebook")
    environment = {**os.environ, "SKEP_REDIS_ULR": "x"}
    command = skep_command("run", "book.ipynb")
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)

    assert "SKEP_REDIS_ULR in the environment is not a setting" in done.stderr
    assert "this is no notebook" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_it(waiting, number):
    waiting.send_signal(number)
    waiting.communicate()

    assert waiting.returncode == 130


def test_when_it_is_killed_it_ends_with_all_that_it_has_open(waiting):
    waiting.kill()

    waiting.communicate()  # until nothing has its stderr open
    assert waiting.returncode == -signal.SIGKILL
