"""Packages in checkpoints: what is read and held of them, and what is left of a restore that fails."""

import os
import platform
import subprocess
from pathlib import Path
from types import SimpleNamespace

import msgpack
import pytest

from skep_shared.checkpoints.manifest import Packages
from skep_shared.packages import PackageMode
from skep_workers.session.packages.archive import LENGTH_BYTES
from skep_workers.session.packages.directory import PackageDirectory
from skep_workers.session.packages.distributions import installed_in
from skep_workers.session.packages.environment import make_environment
from skep_workers.session.packages.kept import KeptPackages
from skep_workers.session.packages.pip_runs import QuietPip


@pytest.fixture
def directory(tmp_path):
    """A directory of packages that has none."""
    make_environment(str(tmp_path / "environment"), {})
    made = PackageDirectory(str(tmp_path / "private"))
    made.begin(str(tmp_path / "environment"))
    made.make_own()
    return made


@pytest.fixture
def kept(directory, tmp_path):
    """The packages of a session with that directory, saved up to 1 MB."""
    kept = KeptPackages()
    kept.begin(directory, str(tmp_path), PackageMode.SAVED, 10**6, 20.0)
    return kept


def install(directory, version):
    """Install a package as pip does: its module, and its metadata."""
    for old in Path(directory.site).glob("hive-*"):
        old.rename(Path(directory.site, f"hive-{version}.dist-info"))
    Path(directory.site, f"hive-{version}.dist-info").mkdir(exist_ok=True)
    Path(directory.site, "hive.py").write_text(f"version = {version!r}\n")


def test_content_that_was_replaced_before_a_checkpoint_had_it_is_not_held(directory, kept):
    for version in ("1.0", "2.0", "3.0"):
        install(directory, version)
        latest = kept.read()

    assert kept.unstored.keys() == set(latest.archive)


def test_nothing_is_held_of_packages_that_can_not_be_read(directory, kept, monkeypatch):
    install(directory, "1.0")
    assert kept.read().archive
    install(directory, "2.0")

    def fail_after(directory, quota_bytes, use):
        use(memoryview(b"half"))
        raise OSError("the disk has failed")

    monkeypatch.setattr("skep_workers.session.packages.kept.pack", fail_after)
    assert kept.read().archive == []
    assert "the disk has failed" in kept.problem
    assert kept.unstored == {}


def test_packages_that_were_restored_in_part_are_installed_again_as_a_whole(directory, kept, monkeypatch):
    """pip would take one whose metadata is there for installed."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    info = f"lib/{Path(directory.site).parent.name}/site-packages/hive-1.0.dist-info"
    rows = [[info, "directory", 0o755, 0, 0, ""]]
    rows += [[f"{info}/{name}", "file", 0o644, 1, 1, ""] for name in ("METADATA", "INSTALLER")]
    rows += [["lib/link", "link", 0, 0, 0, "site-packages"], ["../outside", "file", 0o644, 1, 1, ""]]
    index = msgpack.packb([directory.root, rows])
    stored = bytearray(b"xxx" + index + len(index).to_bytes(LENGTH_BYTES, "big"))

    notes = kept.restore(Packages(["hive==1.0"], [b"digest"]), stored, platform.python_version())

    assert len(notes) == 2, notes
    assert "hive==1.0 not installed" in notes[1]
    assert installed_in(directory.site) == {}
    assert not Path(directory.root, "lib/link").is_symlink()
    assert Path(directory.python).exists()
    assert kept.read().requirements == ["hive==1.0"]


class Interrupted(BaseException):
    """What interrupts a run of pip."""


def test_pip_is_ended_if_its_run_is_interrupted(tmp_path, monkeypatch):
    pids = []

    def interrupt(process, **_):
        pids.append(process.pid)
        monkeypatch.undo()
        raise Interrupted

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupt)
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 3600\n")
    program.chmod(0o755)
    with pytest.raises(Interrupted):
        QuietPip(SimpleNamespace(python=str(program)), 50.0).install(["hive==1.0"])

    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
