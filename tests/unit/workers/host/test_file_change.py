"""A change to the files of a checkpoint: the result is what a session process would have written."""

from dataclasses import replace

import pytest

from skep_shared.checkpoints.manifest import Buffer, Entry, Group, Manifest
from skep_workers.host.checkpoint.file_change import FileChange, directory_entry, file_entry


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
    ("path", "chunks", "paths"),
    [
        ("a/new", "41", ["a", "a/f", "a/new", "a.txt", "z"]), ("a/f", "5", ["a", "a/f", "a.txt", "z"]),
        ("z", "1", ["a", "a/f", "a.txt", "z"]), ("b/c", "6", ["a", "a/f", "a.txt", "b", "b/c", "z"]),
    ],
)  # fmt: skip
def test_files_are_listed_in_the_order_of_a_directory_walk(path, chunks, paths):
    above = [path.rsplit("/", 1)[0]] if "/" in path else []
    made = file_entry(path, 0o644, 5, 7, [name(chunk) for chunk in chunks])
    change = FileChange(path, made, [directory_entry(each, 0o755) for each in above])

    changed = change.apply(MANIFEST)
    files = {each.path: each for each in MANIFEST.files} | {path: entry(path, *chunks)}
    files |= {each: directory(each) for each in above}
    lost = {key: why for key, why in MANIFEST.lost.items() if key != f"./{path}"}
    assert changed == replace(MANIFEST, files=[files[each] for each in paths], lost=lost)
    assert {name(chunk) for chunk in chunks} <= {*changed.digests()}


@pytest.mark.parametrize("path", ["a/new", "a/f"])
def test_a_change_can_be_reversed(path):
    change = FileChange(path, NEW._replace(path=path))

    after = change.reversed_for(MANIFEST).apply(change.apply(MANIFEST))
    assert (after.files, after.digests()) == (MANIFEST.files, MANIFEST.digests())
