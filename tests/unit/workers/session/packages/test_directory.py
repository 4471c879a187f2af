"""The directory of a session's packages: what an interpreter in it finds."""

import subprocess
import sys
from pathlib import Path

import pytest

from skep_workers.session.packages.directory import PackageDirectory
from skep_workers.session.packages.environment import make_environment


@pytest.fixture
def environment(tmp_path):
    """The environment that sessions begin with."""
    root = tmp_path / "environment"
    make_environment(str(root), {"index-url": "https://example.org/simple", "trusted-host": "one\ntwo"})
    return root


@pytest.fixture
def directory(tmp_path, environment):
    """A session's own directory, without packages."""
    made = PackageDirectory(str(tmp_path / "private"))
    made.begin(str(environment))
    made.make_own()
    return made


def said_by(directory, code):
    done = subprocess.run([directory.python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_its_interpreter_finds_its_packages_before_those_of_the_worker(directory):
    Path(directory.site, "msgpack.py").write_text("own = True\n")

    assert said_by(directory, "import msgpack; print(msgpack.own)") == "True"
    assert said_by(directory, "import pydantic, sys; print(sys.prefix)") == directory.root


def test_its_version_is_that_of_the_worker(directory):
    assert said_by(directory, "import sys; print(sys.version)") == sys.version


def test_beginning_again_changes_nothing_that_is_installed(directory, environment):
    Path(directory.site, "own.py").write_text("x = 1\n")

    directory.begin(str(environment))
    directory.make_own()

    assert said_by(directory, "import own; print(own.x)") == "1"


def test_the_settings_of_pip_can_be_read_by_the_user_alone(directory):
    settings = Path(directory.root, "pip.conf")
    assert settings.stat().st_mode & 0o777 == 0o600
    assert settings.read_text() == (
        "[global]\ndisable-pip-version-check = true\nno-cache-dir = true\n"
        "index-url = https://example.org/simple\ntrusted-host = one two\n[install]\nuser = false\n"
    )


def test_the_environment_remains_as_it_was(directory, environment):
    before = sorted(str(path) for path in environment.rglob("*"))

    Path(directory.site, "own.py").write_text("x = 1\n")
    Path(directory.bin, "tool").write_text("#!/bin/sh\n")

    assert sorted(str(path) for path in environment.rglob("*")) == before
    assert Path(directory.root).is_symlink()


def test_its_own_one_has_what_an_interpreter_needs_and_nothing_that_makes_another_copy(directory):
    names = {path.name for path in Path(directory.root).resolve().rglob("*") if not path.is_dir()}

    assert names == {"pip", "pip3", "pip.conf", "pyvenv.cfg", "python", "python3", "zzz_worker_packages.pth"}


def test_an_interpreter_in_it_makes_it_the_sessions_own(tmp_path, environment):
    directory = PackageDirectory(str(tmp_path / "private"))
    directory.begin(str(environment))

    assert said_by(directory, "import pydantic, sys; print(sys.prefix)") == directory.root
    assert Path(directory.root).resolve() == tmp_path / "private" / ".packages.own"


def test_two_copies_at_the_same_time_lead_to_one_directory(tmp_path, environment):
    directory = PackageDirectory(str(tmp_path / "private"))
    directory.begin(str(environment))
    link = Path(directory.root)
    directory.make_own()
    Path(directory.site, "own.py").write_text("x = 1\n")
    link.unlink()
    link.symlink_to(environment)  # as another process has found it, which began before

    directory.make_own()

    assert said_by(directory, "import own; print(own.x)") == "1"
    assert sorted(path.name for path in link.parent.iterdir()) == [".packages", ".packages.own"]


def test_another_directory_takes_the_places_of_the_first_one(directory, tmp_path):
    other = PackageDirectory(str(tmp_path / "other"))
    path = directory.search_path(["", "/usr/lib/python3"], None)
    variables = directory.variables({"PATH": "/usr/bin", "OTHER": "1"}, None)

    assert path[-1] == directory.site
    assert other.search_path(path, directory) == ["", "/usr/lib/python3", other.site]
    assert variables == {"PATH": f"{directory.bin}:{directory.tools}:/usr/bin", "VIRTUAL_ENV": directory.root}
    moved = other.variables({"PATH": f"/first:{variables['PATH']}"}, directory)
    assert moved == {"PATH": f"/first:{other.bin}:{other.tools}:/usr/bin", "VIRTUAL_ENV": other.root}


def test_the_command_pip_can_be_a_refusal(tmp_path):
    make_environment(str(tmp_path / "environment"), {}, "it is off")
    directory = PackageDirectory(str(tmp_path / "private"))
    directory.begin(str(tmp_path / "environment"))

    for name in ("pip", "pip3"):
        done = subprocess.run([f"{directory.tools}/{name}", "list"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "ERROR: it is off\n")
