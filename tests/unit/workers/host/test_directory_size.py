"""The size of a session's directory, as the worker measures it."""

import os

from skep_workers.host.limits.directory_size import measure_directory

MIB = 1024 * 1024


def test_an_empty_directory_has_no_size(tmp_path):
    assert measure_directory(tmp_path, None, None) == (0, 0)


def test_files_in_subdirectories_count(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(bytes(MIB))

    size = measure_directory(tmp_path, None, None)

    assert size.used_bytes >= MIB
    assert size.entries == 3


def test_a_file_with_two_names_counts_once(tmp_path):
    (tmp_path / "one").write_bytes(bytes(MIB))
    os.link(tmp_path / "one", tmp_path / "two")

    size = measure_directory(tmp_path, None, None)

    assert size.used_bytes < 2 * MIB
    assert size.entries == 2


def test_a_hole_in_a_file_uses_no_space(tmp_path):
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1000 * MIB)

    assert measure_directory(tmp_path, None, None).used_bytes < MIB


def test_links_are_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(bytes(MIB))
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "inside" / "loop").symlink_to(tmp_path / "inside")

    size = measure_directory(tmp_path / "inside", None, None)

    assert size.used_bytes < MIB
    assert size.entries == 2


def test_measuring_stops_beyond_a_limit(tmp_path):
    for number in range(20):
        (tmp_path / str(number)).write_bytes(b"x")

    assert measure_directory(tmp_path, None, 5).entries == 6


def test_a_directory_that_does_not_exist_has_no_size(tmp_path):
    assert measure_directory(tmp_path / "missing", None, None) == (0, 0)


def test_a_directory_that_can_not_be_read_is_left_out(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "hidden").mkdir()
    scan = os.scandir

    def refuse(path):
        if path.endswith("hidden"):
            raise PermissionError(path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)

    assert measure_directory(tmp_path, None, None).entries == 2
