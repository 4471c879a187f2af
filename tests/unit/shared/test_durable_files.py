"""A file is flushed before it is renamed, and the directories before the call returns."""

import os
from pathlib import Path

import pytest

from skep_shared.chunks import durable_files
from skep_shared.chunks.durable_files import write_durably


@pytest.fixture
def steps(monkeypatch, tmp_path):
    """The operations on the disk, in order: (operation, path below tmp_path)."""
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


def test_a_file_is_flushed_then_renamed_then_each_directory_with_a_new_name_is_flushed(tmp_path, steps):
    (tmp_path / "root").mkdir()
    write_durably(tmp_path / "root", [("s/1/a", b"1"), ("s/1/b", b"2")])

    for name in "ab":
        assert [what for what, path in steps[:4] if path == f"root/s/1/{name}"] == ["flush", "rename"]
    assert sorted(steps[4:]) == [("flush", "root"), ("flush", "root/s"), ("flush", "root/s/1")]
    assert [(tmp_path / "root/s/1" / name).read_bytes() for name in "ab"] == [b"1", b"2"]


def test_of_existing_directories_only_the_files_own_is_flushed(tmp_path, steps):
    write_durably(tmp_path, [("s/a", b"1")])
    steps.clear()
    write_durably(tmp_path, [("s/a", b"2")])

    assert steps == [("flush", "s/a"), ("rename", "s/a"), ("flush", "s")]
    assert (tmp_path / "s/a").read_bytes() == b"2"


def test_a_file_that_can_not_be_flushed_does_not_appear(tmp_path, monkeypatch):
    def fail(fd):
        raise OSError("no")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no"):
        write_durably(tmp_path, [("s/a", b"1")])

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_directory_that_another_process_removes_is_made_again(tmp_path, monkeypatch):
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
