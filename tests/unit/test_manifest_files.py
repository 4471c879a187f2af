"""A manifest with another file: what a session process would have written."""

from dataclasses import replace

import pytest

from skep_shared.manifests import read_manifest
from skep_workers.host.manifest_files import FilesChange, directory_entry, file_entry, pack_empty
from skep_workers.session.checkpoint.manifest import Buffer, Group, Manifest
from skep_workers.session.checkpoint.surroundings.workspace import Entry, with_files


def name(text):
    return text.encode().ljust(16)


def entry(path, *chunks):
    return Entry(path, "file", 0o644, 5, 7, tuple(map(name, chunks)), "")


def directory(path):
    return Entry(path, "directory", 0o755, 0, 0, (), "")


MANIFEST = Manifest(
    3,
    [Group(["x"], [name("x")], [Buffer([name("b"), name("x")], readonly=True)])],
    Group(["f"], [name("d")]),
    {"f": "key"},
    {"./a/new": "over the quota", "y": "why"},
    Group([], [name("ambient")]),
    Group([], [name("sources")]),
    [directory("a"), entry("a/f", "1", "2"), entry("a.txt", "1"), entry("z", "3")],
)
NEW = file_entry("a/new", 0o644, 5, 7, [name("4"), name("1")])


@pytest.mark.parametrize(
    ("path", "chunks"), [("a/new", "41"), ("a/f", "5"), ("z", "1"), ("b/c/d", "6"), ("a.txt/", "7")], ids=str
)
def test_it_is_as_a_session_process_would_write_it(path, chunks):
    path = path.rstrip("/")
    above = [path.rsplit("/", 1)[0]] if "/" in path else []
    made = file_entry(path, 0o644, 5, 7, [name(chunk) for chunk in chunks])
    change = FilesChange(path, made, [directory_entry(each, 0o755) for each in above])

    lost = {key: why for key, why in MANIFEST.lost.items() if key != f"./{path}"}
    files = with_files(MANIFEST.files, [*map(directory, above), entry(path, *chunks)])
    assert change.applied(read_manifest(MANIFEST.pack())) == read_manifest(
        replace(MANIFEST, files=files, lost=lost).pack()
    )


def test_files_are_in_the_order_of_a_walk():
    change = FilesChange("a/new", NEW)

    assert [each[0] for each in change.applied(read_manifest(MANIFEST.pack()))["files"]] == [
        "a", "a/f", "a/new", "a.txt", "z",
    ]  # fmt: skip


@pytest.mark.parametrize("path", ["a/new", "a/f"])
def test_a_change_can_be_taken_back(path):
    before = read_manifest(MANIFEST.pack())
    change = FilesChange(path, [path, *NEW[1:]])

    after = change.undone(before).applied(change.applied(before))
    assert (after["files"], after["blobs"]) == (before["files"], before["blobs"])


def test_an_empty_manifest_can_be_read_and_filled():
    read = Manifest.unpack(pack_empty("3.11"))

    assert (read.names, read.files, read.digests(), read.python) == (set(), [], [], "3.11")
    filled = FilesChange("new", ["new", *NEW[1:]]).applied(read_manifest(pack_empty("3.11")))
    assert filled["blobs"] == [name("4"), name("1")]
