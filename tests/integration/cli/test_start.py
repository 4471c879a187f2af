"""Ctrl-C while a command is still being loaded: on a busy machine that takes seconds."""

import os
import signal
import subprocess
import sys

import pytest

RUN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from skep_command import main; main()"


def loaded(directory, *arguments, before=""):
    """Run the program with the modules of this directory in place of skep's own."""
    command = [sys.executable, "-c", before + RUN, str(directory), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


@pytest.fixture(autouse=True)
def sigint_is_heeded():
    """Children get the default action: a background job of a shell ignores SIGINT, and they would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def interrupted_import(tmp_path):
    """A package `skep` that gets a SIGINT while it is imported."""
    package = tmp_path / "skep"
    package.mkdir()
    (package / "__init__.py").write_text("import signal; signal.raise_signal(signal.SIGINT)\n")
    (package / "cli.py").write_text("def main(): print('it runs')\n")
    return tmp_path


def test_ctrl_c_while_the_package_is_loaded_ends_the_program_silently(interrupted_import):
    result = loaded(interrupted_import)

    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGINT, "", "")


def test_a_program_that_is_to_ignore_ctrl_c_ignores_it_while_it_is_loaded(interrupted_import):
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"

    assert loaded(interrupted_import, before=ignore).stdout == "it runs\n"


def test_ctrl_c_while_the_commands_are_loaded_ends_the_program_silently(tmp_path):
    (tmp_path / "typer.py").write_text("import signal; signal.raise_signal(signal.SIGINT)\n")
    result = loaded(tmp_path, "--version")

    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


def test_the_program_runs_the_command_line(tmp_path):
    assert loaded(tmp_path, "--version").stdout.startswith("skep ")


def test_a_worker_without_its_packages_is_unavailable(tmp_path):
    without_arq = (
        "import importlib.util as util\nfind = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'arq' else find(name, *rest)\n"
    )
    result = loaded(tmp_path, "worker", before=without_arq)

    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.startswith("skep worker: worker did not start: this environment lacks arq: pip install ")
    assert result.stderr.count("\n") == 1


def test_ctrl_c_while_a_worker_is_loaded_ends_it_silently(tmp_path):
    (tmp_path / "uvloop.py").write_text("import signal; signal.raise_signal(signal.SIGINT)\n")
    command = [sys.executable, "-m", "skep_workers"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)

    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGINT, "", "")
