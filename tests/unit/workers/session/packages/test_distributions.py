"""What is installed, as read from metadata; what a change means in a running process."""

import os
import sys
import types

import pytest

from skep_workers.session.packages.distributions import (
    Distribution,
    installed_in,
    modules_of,
    name_of,
    placed,
    requirement_of,
    signature_of,
)
from skep_workers.session.packages.loading import PathFiles, imported_before
from skep_workers.session.packages.pip_runs import without_passwords

HIVE = Distribution("Hive_x", "1.0+local", "Hive_x-1.0+local.dist-info")


@pytest.fixture
def site(tmp_path):
    """A directory with one distribution."""
    (tmp_path / HIVE.info).mkdir()
    (tmp_path / HIVE.info / "RECORD").write_text(
        "hive_x/__init__.py,,\nhive_x/deep/more.py,,\nsingle.py,,\nfast.cpython-311-x86_64-linux-gnu.so,,\n"
        "../../../bin/hive,,\nHive_x-1.0+local.dist-info/RECORD,,\n__pycache__/single.cpython-311.pyc,,\n"
    )
    (tmp_path / "unrelated").mkdir()
    return tmp_path


def test_distributions_are_found_by_normalized_names(site):
    assert installed_in(str(site)) == {"hive-x": HIVE}
    assert installed_in(str(site / "missing")) == {}


def test_the_modules_of_a_distribution_are_known(site):
    assert modules_of(HIVE, str(site)) == {"hive_x", "single", "fast"}


@pytest.mark.parametrize(
    ("url", "requirement"),
    [
        ("", "Hive_x==1.0+local"),
        ('{"url": "https://example.org/h.whl", "archive_info": {}}', "Hive_x @ https://example.org/h.whl"),
        ('{"url": "file:///home/s%40x/h.whl", "archive_info": {}}', "Hive_x @ file://${WORKSPACE}/h.whl"),
        ('{"url": "file:///home/s%40x2/h.whl", "archive_info": {}}', "Hive_x @ file:///home/s%40x2/h.whl"),
        (
            '{"url": "https://example.org/h", "vcs_info": {"vcs": "git", "commit_id": "abc"}}',
            "Hive_x @ git+https://example.org/h@abc",
        ),
        ("not JSON", "Hive_x==1.0+local"),
        ("[1]", "Hive_x==1.0+local"),
    ],
)
def test_a_distribution_is_installed_again_from_where_it_came(site, url, requirement):
    if url:
        (site / HIVE.info / "direct_url.json").write_text(url)

    assert requirement_of(HIVE, str(site), "/home/s@x") == requirement
    assert name_of(requirement) == "hive-x"


def test_a_file_of_the_workspace_is_searched_in_that_of_the_fork():
    assert placed("Hive_x @ file://${WORKSPACE}/h.whl", "/home/f@x") == "Hive_x @ file:///home/f%40x/h.whl"
    assert placed("Hive_x==1.0", "/home/f") == "Hive_x==1.0"


def test_a_signature_changes_with_what_is_installed_and_not_with_imports(site):
    before = signature_of(str(site))
    (site / "__pycache__").mkdir()
    (site / "unrelated" / "__pycache__").mkdir()
    assert signature_of(str(site)) == before

    os.utime(site / HIVE.info, ns=(5, 5))
    upgraded = signature_of(str(site))
    (site / "more.py").write_text("")
    assert len({before, upgraded, signature_of(str(site))}) == 3


def test_a_changed_distribution_whose_module_is_imported_is_named(site, monkeypatch):
    monkeypatch.setitem(sys.modules, "hive_x", types.ModuleType("hive_x"))
    after = {"hive-x": HIVE}

    [warning] = imported_before({}, after, str(site), ())
    assert warning.startswith("Hive_x 1.0+local is installed, and hive_x was imported before")
    [warning] = imported_before({}, after, str(site), {"hive_x"})
    assert "was imported by the worker in advance (SKEP_PRELOAD" in warning
    assert imported_before(after, after, str(site), ()) == []


def test_path_files_are_read_once_and_their_failures_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), "/after"])
    monkeypatch.setattr(sys, "runs", [], raising=False)
    (tmp_path / "more").mkdir()
    (tmp_path / "a.pth").write_text("# comment\nmore\nmissing\n\nimport sys; sys.runs.append(1)\nimport sys; 1 / 0\n")
    files = PathFiles()

    assert files.read_new(str(tmp_path)) == ["a.pth: ZeroDivisionError: division by zero"]
    assert files.read_new(str(tmp_path)) == []
    assert sys.path == ["", str(tmp_path), f"{tmp_path}/more", "/after"]
    assert sys.runs == [1]


def test_passwords_in_urls_are_hidden():
    text = "https://user:word@example.org/simple and https://example.org/a@b"

    assert without_passwords(text) == "https://****@example.org/simple and https://example.org/a@b"
