"""Manifests: what is known of a checkpoint's chunks, and how a fork sees them."""

import os

import msgpack
import pytest

from skep_shared.checkpoint_ids import CheckpointId
from skep_shared.manifests import (
    Chunk,
    Origin,
    chunks_of,
    for_fork,
    plain_manifest,
    read_manifest,
    read_origins,
    state_bytes,
    with_chunks,
)

CHUNKS = [Chunk(b"a", 10, 5), Chunk(b"b", 20, 21, home=2, epoch=7)]
MANIFEST = {"blobs": [b"a", b"b"], "lost": {"x\ud800": "why"}, "raw": b"\xff"}


def test_what_is_known_of_chunks_travels_with_the_manifest():
    manifest = read_manifest(with_chunks(MANIFEST, CHUNKS))

    assert chunks_of(manifest) == CHUNKS
    assert {name: manifest[name] for name in MANIFEST} == MANIFEST


def test_a_large_manifest_is_stored_in_less_than_21_bytes_a_chunk():
    chunks = [Chunk(os.urandom(16), 512 * 1024, 500_000 + number) for number in range(400)]
    names = [chunk.name for chunk in chunks]
    manifest = {"blobs": names, "lost": {}, "groups": [{"names": ["big"], "chunks": names}]}
    packed = with_chunks(manifest, chunks)

    assert len(packed) < 400 * 21
    assert chunks_of(read_manifest(packed)) == chunks
    plain = msgpack.unpackb(plain_manifest(packed))
    assert {name: plain[name] for name in manifest} == manifest
    assert chunks_of(read_manifest(for_fork(packed)))[7] == chunks[7]._replace(home=1)


def test_a_fork_has_every_chunk_one_origin_further_away():
    again = read_manifest(for_fork(with_chunks(MANIFEST, CHUNKS)))

    assert [(chunk.home, chunk.epoch) for chunk in chunks_of(again)] == [(1, 0), (3, 7)]


def test_of_a_manifest_without_sizes_none_is_claimed():
    assert state_bytes(chunks_of(MANIFEST)) is None
    assert state_bytes(CHUNKS) == 30


@pytest.mark.parametrize(
    "packed", [msgpack.packb([]), msgpack.packb({}), msgpack.packb({"blobs": 1}), b"\xc1", b"\1nothing"]
)
def test_what_is_no_manifest_is_refused(packed):
    with pytest.raises(ValueError):  # noqa: PT011 - msgpack's own are ValueErrors too
        read_manifest(packed)


def test_origins_are_read_nearest_first():
    assert read_origins("") == ()
    assert read_origins("a.b:3:1700 c=d:12-1:5") == (
        Origin("a.b", CheckpointId(3), 1700),
        Origin("c=d", CheckpointId(12, 1), 5),
    )
