"""What was written is flushed before it gets its name, and its name before anybody is told."""

import os
from pathlib import Path

import pytest

from skep_shared import durable_files
from skep_shared.durable_files import write_durably


@pytest.fixture
def steps(monkeypatch, tmp_path):
    """What is done to the disk, in order: (what, path below tmp_path)."""
    steps = []
    fsync, replace = os.fsync, Path.replace

    def seen(what, path):
        steps.append((what, str(Path(path).relative_to(tmp_path)).partition("#")[0]))

    def noting_fsync(fd):
        seen("flush", Path(f"/proc/self/fd/{fd}").readlink())
        fsync(fd)

    def noting_replace(self, target):
        seen("rename", target)
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(Path, "replace", noting_replace)
    return steps


def test_a_file_is_flushed_then_renamed_then_every_directory_that_has_a_new_name(tmp_path, steps):
    (tmp_path / "root").mkdir()
    write_durably(tmp_path / "root", [("s/1/a", b"1"), ("s/1/b", b"2")])

    for name in "ab":
        assert [what for what, path in steps[:4] if path == f"root/s/1/{name}"] == ["flush", "rename"]
    assert sorted(steps[4:]) == [("flush", "root"), ("flush", "root/s"), ("flush", "root/s/1")]
    assert [(tmp_path / "root/s/1" / name).read_bytes() for name in "ab"] == [b"1", b"2"]


def test_in_a_directory_that_is_there_only_that_one_is_flushed(tmp_path, steps):
    write_durably(tmp_path, [("s/a", b"1")])
    steps.clear()
    write_durably(tmp_path, [("s/a", b"2")])

    assert steps == [("flush", "s/a"), ("rename", "s/a"), ("flush", "s")]
    assert (tmp_path / "s/a").read_bytes() == b"2"


def test_what_can_not_be_flushed_is_not_there(tmp_path, monkeypatch):
    def fail(fd):
        raise OSError("no")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no"):
        write_durably(tmp_path, [("s/a", b"1")])

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_directory_that_is_removed_meanwhile_is_made_again(tmp_path, monkeypatch):
    make, removed = durable_files._make_directories, []

    def make_and_lose(directory):
        made = make(directory)
        if not removed:
            removed.append(directory.rmdir())
        return made

    monkeypatch.setattr(durable_files, "_make_directories", make_and_lose)
    write_durably(tmp_path, [("s/a", b"1")])

    assert removed
    assert (tmp_path / "s/a").read_bytes() == b"1"
