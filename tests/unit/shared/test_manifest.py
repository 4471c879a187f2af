"""The schema of manifests: stored checkpoints are read through it, so its packed form must not change."""

from dataclasses import replace

import msgpack
import pytest

from skep_shared.checkpoints.manifest import Buffer, Entry, Group, Manifest, Packages, replace_entry

MANIFEST = Manifest(
    seq=3,
    groups=[Group(["x"], [b"x"], [Buffer([b"b", b"x"], readonly=True)], ["key"], is_tolerant=True)],
    definitions=Group(["f"], [b"d"]),
    bindings={"g": "key"},
    lost={"y\ud800": "why", "./c": "over the quota"},
    ambient=Group([], [b"m"]),
    sources=Group([], [b"s"]),
    files=[Entry("a", "file", 0o644, 5, 7, (b"1", b"x"), ""), Entry("l", "link", 0, 0, 0, (), "a")],
    is_remade=True,
    python="3.11.4",
)
FIELDS = {
    "format": 1,
    "blobs": [b"x", b"b", b"m", b"d", b"s", b"1"],
    "seq": 3,
    "groups": [
        {
            "names": ["x"],
            "chunks": [b"x"],
            "buffers": [{"chunks": [b"b", b"x"], "readonly": True}],
            "named": ["key"],
            "tolerant": True,
        }
    ],
    "definitions": {"names": ["f"], "chunks": [b"d"], "buffers": [], "named": [], "tolerant": False},
    "bindings": {"g": "key"},
    "lost": {"y\ud800": "why", "./c": "over the quota"},
    "ambient": {"names": [], "chunks": [b"m"], "buffers": [], "named": [], "tolerant": False},
    "sources": {"names": [], "chunks": [b"s"], "buffers": [], "named": [], "tolerant": False},
    "files": [["a", "file", 0o644, 5, 7, [b"1", b"x"], ""], ["l", "link", 0, 0, 0, [], "a"]],
    "remade": True,
    "python": "3.11.4",
}


def packed(fields):
    return msgpack.packb(fields, unicode_errors="surrogatepass")


def test_the_packed_form_is_pinned():
    assert MANIFEST.pack() == packed(FIELDS)


def test_packages_have_a_field_only_where_there_are_any():
    manifest = replace(MANIFEST, packages=Packages(["a==1"], [b"p", b"x"], has_initial=True))

    fields = FIELDS | {"packages": {"requirements": ["a==1"], "archive": [b"p", b"x"], "initial": True}}
    assert manifest.pack() == packed(fields | {"blobs": [*FIELDS["blobs"], b"p"]})
    assert Manifest.unpack(manifest.pack()) == manifest


def test_unpacking_returns_what_was_packed():
    assert Manifest.unpack(MANIFEST.pack()) == MANIFEST
    without = replace(MANIFEST, definitions=None, sources=None, files=[])
    assert Manifest.unpack(without.pack()) == without


def test_sizes_of_chunks_are_read_from_what_the_host_has_added():
    stored = [[10, 11, 12, 13, 14, 15], [5] * 6, [0] * 6, [0] * 6]

    sizes = Manifest.unpack(packed(FIELDS | {"stored": stored, "upload": True})).sizes
    assert sizes == {b"x": 10, b"b": 11, b"m": 12, b"d": 13, b"s": 14, b"1": 15}


def test_the_size_of_a_state_is_unknown_if_that_of_a_chunk_is():
    assert MANIFEST.state_bytes is None
    assert replace(MANIFEST, sizes={b"x": 10, b"b": 11}).state_bytes == 21
    assert replace(MANIFEST, sizes={b"x": 10, b"b": 0}).state_bytes is None
    assert Manifest(0, [], None, {}, {}, Group([], [])).state_bytes == 0


def test_fields_that_are_not_known_are_ignored():
    assert Manifest.unpack(packed(FIELDS | {"later": 1})) == MANIFEST


@pytest.mark.parametrize("bytes_", [packed([]), packed(FIELDS | {"format": 2}), b"\xc1"])
def test_another_format_is_refused(bytes_):
    with pytest.raises(ValueError):  # noqa: PT011 - msgpack's own are ValueErrors too
        Manifest.unpack(bytes_)


def test_a_file_can_be_replaced_added_and_removed():
    file = Entry("a/b", "file", 0, 0, 1, (b"2",), "")
    directory, other = Entry("a", "directory", 0, 0, 0, (), ""), Entry("a.txt", "file", 0, 0, 1, (), "")

    added = replace_entry([other], "a/b", file, [directory])
    assert added == [directory, file, other]  # as a directory walk finds them
    assert replace_entry(added, "a/b", None) == [directory, other]
    assert replace_entry(added, "a/b", file._replace(size=2), [directory._replace(mode=1)]) == [
        directory, file._replace(size=2), other,
    ]  # fmt: skip


def test_a_file_that_was_replaced_is_no_longer_lost():
    file = Entry("c", "file", 0, 0, 1, (), "")
    changed = MANIFEST.with_entry("c", file)

    assert (changed.lost, changed.files) == ({"y\ud800": "why"}, [MANIFEST.files[0], file, MANIFEST.files[1]])
