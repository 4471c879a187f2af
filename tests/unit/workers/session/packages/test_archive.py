"""The stored form of a directory of packages."""

import os
from pathlib import Path

import msgpack
import pytest

from skep_workers.session.packages.archive import LENGTH_BYTES, TooLarge, pack, unpack
from skep_workers.session.packages.directory import PackageDirectory
from skep_workers.session.packages.environment import make_environment


def own_directory(tmp_path, name, index):
    """Return the directory of a session whose worker uses this index."""
    environment = str(tmp_path / f"environment of {name}")
    make_environment(environment, index)
    made = PackageDirectory(str(tmp_path / name))
    made.begin(environment)
    made.make_own()
    return made


@pytest.fixture
def directory(tmp_path):
    """A directory of packages, with some files."""
    made = own_directory(tmp_path, "one", {"index-url": "https://user:word@example.org"})
    Path(made.site, "hive/__pycache__").mkdir(parents=True)
    for path, text in {
        f"{made.site}/hive/__init__.py": "version = 1\n",
        f"{made.site}/hive/__pycache__/x.pyc": "bytecode",
        f"{made.site}/hive/empty": "",
        f"{made.bin}/hive": f"#!{made.python}\nimport hive\n",
    }.items():
        Path(path).write_text(text)
    Path(made.bin, "hive").chmod(0o750)
    Path(made.site, "comb").symlink_to("hive")
    return made


@pytest.fixture
def other(tmp_path):
    """The directory of another session, without packages."""
    return own_directory(tmp_path, "two", {})


def stored_form(directory, quota_bytes=10**6):
    stored = bytearray()
    pack(directory, quota_bytes, stored.extend)
    return stored


def test_files_links_and_modes_are_restored(directory, other):
    unpack(other, memoryview(stored_form(directory)))

    assert Path(other.site, "hive/__init__.py").read_text() == "version = 1\n"
    assert Path(other.site, "hive/empty").read_text() == ""
    assert Path(other.site, "comb").readlink() == Path("hive")
    assert Path(other.bin, "hive").stat().st_mode & 0o777 == 0o750
    before, after = (Path(each.site, "hive/__init__.py").stat().st_mtime_ns for each in (directory, other))
    assert before == after


def test_a_console_script_names_the_interpreter_of_its_directory(directory, other):
    unpack(other, memoryview(stored_form(directory)))

    assert Path(other.bin, "hive").read_text() == f"#!{other.python}\nimport hive\n"


def test_bytecode_and_settings_of_the_worker_are_left_out(directory, other):
    stored = stored_form(directory)
    unpack(other, memoryview(stored))

    assert not Path(other.site, "hive/__pycache__").exists()
    assert b"word" not in stored
    assert "index-url" not in Path(other.root, "pip.conf").read_text()


def test_packages_that_are_added_leave_the_beginning_unchanged(directory):
    before = stored_form(directory)
    added = Path(directory.site, "added.py")
    added.write_text("x = 1\n")
    os.utime(added, ns=(2**62, 2**62))

    after = stored_form(directory)

    contents = len(before) - LENGTH_BYTES - int.from_bytes(before[-LENGTH_BYTES:], "big")
    assert after.startswith(before[:contents])


def test_more_than_the_quota_is_refused_with_both_sizes(directory):
    with pytest.raises(TooLarge, match=r"they have \d+ bytes, and the quota is 20 "):
        stored_form(directory, 20)


@pytest.mark.parametrize("path", ["../outside", "/outside", "lib/../../outside", ""])
def test_a_path_outside_of_the_directory_is_refused(other, tmp_path, path):
    index = msgpack.packb([other.root, [[path, "file", 0o644, 1, 1, ""]]])
    stored = b"x" + index + len(index).to_bytes(LENGTH_BYTES, "big")

    with pytest.raises(ValueError, match="is not below the directory of packages"):
        unpack(other, memoryview(stored))

    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("stored", [b"", b"x", b"\xff" * 20])
def test_bytes_of_another_form_are_refused(other, stored):
    with pytest.raises(ValueError, match=r"."):
        unpack(other, memoryview(stored))
