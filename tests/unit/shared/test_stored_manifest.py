"""Manifests as the host and clients pass them on: where a checkpoint's chunks are, and how a fork sees them."""

import os

import msgpack
import pytest

from skep_shared.checkpoints.manifest import Group, Manifest
from skep_shared.chunks.stored_manifest import Chunk, StoredManifest, UnstoredManifest, unpack_content

CHUNKS = [Chunk(b"a", 10, 5), Chunk(b"b", 20, 21, home=2, epoch=7)]
FIELDS = {"blobs": [b"a", b"b"], "lost": {"x\ud800": "why"}, "later": ["\ud800", {"not": "known"}]}


def packed(fields):
    return msgpack.packb(fields, unicode_errors="surrogatepass")


def unpacked(data):
    return msgpack.unpackb(data, unicode_errors="surrogatepass")


def stored(**options):
    return UnstoredManifest.unpack(packed(FIELDS)).with_chunks(CHUNKS, **options)


def test_the_stored_form_is_pinned():
    columns = {"stored": [[10, 20], [5, 21], [0, 2], [0, 7]]}

    assert stored().pack() == packed(FIELDS | columns)
    assert stored(is_upload=True).pack() == packed(FIELDS | {"upload": True} | columns)


def test_what_the_host_knows_is_read_back():
    for manifest in (stored(), stored(is_upload=True)):
        assert StoredManifest.unpack(manifest.pack()) == manifest
    assert (stored().chunks, stored().lost, stored().is_upload) == (CHUNKS, {"x\ud800": "why"}, False)


def test_a_large_manifest_is_stored_in_less_than_21_bytes_a_chunk():
    chunks = [Chunk(os.urandom(16), 512 * 1024, 500_000 + number) for number in range(400)]
    names = [chunk.name for chunk in chunks]
    content = Manifest(1, [Group(["big"], names)], None, {}, {}, Group([], []))
    data = UnstoredManifest.of(content).with_chunks(chunks).pack()

    assert len(data) < 400 * 21
    manifest = StoredManifest.unpack(data)
    assert manifest.chunks == chunks
    assert manifest.content() == unpack_content(data)
    assert (manifest.content().groups, manifest.content().sizes[names[7]]) == (content.groups, 512 * 1024)
    assert StoredManifest.unpack(manifest.for_fork().pack()).chunks[7] == chunks[7]._replace(home=1)


def test_a_map_with_a_longer_header_can_be_added_to():
    fields = FIELDS | {f"later {number}": number for number in range(12)}  # 15 fields, the most of a one-byte header
    manifest = UnstoredManifest.unpack(packed(fields)).with_chunks(CHUNKS)

    assert unpacked(manifest.packed) == fields | {"stored": [[10, 20], [5, 21], [0, 2], [0, 7]]}


def test_an_empty_manifest_has_no_chunks():
    manifest = UnstoredManifest.unpack(packed({"blobs": [], "lost": {}})).with_chunks([])

    assert StoredManifest.unpack(manifest.pack()) == manifest


def test_a_fork_has_every_chunk_one_origin_further_away():
    again = StoredManifest.unpack(stored(is_upload=True).for_fork().pack())

    assert [(chunk.home, chunk.epoch) for chunk in again.chunks] == [(1, 0), (3, 7)]
    assert again.is_upload
    assert unpacked(again.packed)["later"] == FIELDS["later"]


def test_without_places_the_chunks_are_taken_to_be_the_sessions_own_in_redis():
    assert StoredManifest.unpack(packed(FIELDS)).chunks == [Chunk(b"a"), Chunk(b"b")]


@pytest.mark.parametrize(
    "data",
    [
        b"", packed([]), packed({}), packed({"blobs": 1}), packed(FIELDS)[:-1], packed(FIELDS) + b"x", b"\xc1", b"\1nothing",
        packed(FIELDS | {"stored": [[1], [1], [1], [1]]}),
    ],
)  # fmt: skip
def test_malformed_bytes_are_refused(data):
    with pytest.raises(ValueError):  # noqa: PT011 - msgpack's own are ValueErrors too
        StoredManifest.unpack(data)


@pytest.mark.parametrize(
    "columns",
    [
        1, [], [[1, 2]] * 3, [[1]] * 4, [[1, 2], [1, 2], [1, -1], [0, 0]], [[1, 2], [1, 2], [0, 0], ["0", 0]],
        [[1, 2], [1, 2], [0, 0], [0.0, 0]],
    ],
)  # fmt: skip
def test_places_of_chunks_that_are_no_numbers_are_refused(columns):
    """A negative home was that of another session's folder."""
    with pytest.raises(ValueError, match=r"manifest was expected|argument"):
        StoredManifest.unpack(packed(FIELDS | {"stored": columns}))


CONTENT = {
    "format": 1, "blobs": [b"a"], "seq": 1, "definitions": None, "bindings": {"f": "k"}, "lost": {}, "sources": None,
    "groups": [{"names": ["x"], "chunks": [b"a"], "buffers": [], "named": [], "tolerant": False}],
    "ambient": {"names": [], "chunks": [], "buffers": [{"chunks": [b"a"], "readonly": True}], "named": [], "tolerant": False},
    "files": [["p", "file", 420, 1, 1, [b"a"], ""]], "remade": False, "python": "3.11",
}  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"seq": "1"}, {"seq": None}, {"groups": 1}, {"groups": [1]}, {"groups": [{}]}, {"bindings": [1]},
        {"bindings": {"f": 1}}, {"python": 3}, {"files": [["p"]]}, {"files": [["p", "file", "mode", 1, 1, [b"a"], ""]]},
        {"files": [["p", "file", 420, 1, 1, "a", ""]]}, {"files": [["p", "file", 420, 1, 1, 1, ""]]}, {"format": 2},
        {"ambient": CONTENT["ambient"] | {"buffers": [1]}}, {"ambient": CONTENT["ambient"] | {"tolerant": 1}},
        {"ambient": CONTENT["ambient"] | {"names": [b"x"]}}, {"sources": CONTENT["ambient"] | {"chunks": "ab"}},
    ],
    ids=str,
)  # fmt: skip
def test_content_with_a_field_of_another_type_is_refused(wrong):
    """Uploads into a session and listings read what a session process has made as it pleases."""
    assert unpack_content(packed(CONTENT)).names == {"x", "f"}

    with pytest.raises(ValueError, match="manifest"):
        unpack_content(packed(CONTENT | wrong))
    with pytest.raises(ValueError, match="manifest"):
        StoredManifest.unpack(packed(CONTENT | wrong)).content()


def test_a_fork_of_what_can_not_be_read_is_refused():
    unhashable = packed({"blobs": []})[:-1] + b"\x90"
    manifest = StoredManifest(b"\x82" + unhashable[1:] + b"\xa1x\x81\x90\x01", [], {})

    with pytest.raises(ValueError, match="a manifest was expected"):
        manifest.for_fork()
