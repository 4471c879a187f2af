"""Chunks are received at their final places, complete and checked."""

import pytest

from skep_shared.checkpoints.content_chunks import CHUNK_BYTES, split
from skep_workers.session.checkpoint.restoring.chunk_store import LARGE_BYTES, ChunkStore, DamagedCheckpoint

LARGE = b"".join(bytes([number]) * CHUNK_BYTES for number in range(LARGE_BYTES // CHUNK_BYTES)) + b"the end"


def chunks_of(data):
    parts = [(name, bytes(part)) for name, part in split(data)]
    return [name for name, _ in parts], dict(parts)


def expecting(*runs):
    """Return a store that is prepared for these runs, and their chunks."""
    store, chunks = ChunkStore(), {}
    for data in runs:
        chunks |= chunks_of(data)[1]
    store.prepare([chunks_of(data)[0] for data in runs], {name: len(part) for name, part in chunks.items()})
    return store, chunks


def send(store, name, part):
    """Do what the receiver does."""
    place = store.destination(name, len(part))
    if place is not None:
        place[:] = part
    store.add(name, part if place is None else place)
    return place is not None


def test_a_large_run_is_received_in_its_final_memory_in_any_order():
    store, chunks = expecting(LARGE)

    assert {send(store, *item) for item in reversed(chunks.items())} == {True}
    joined = store.joined(chunks_of(LARGE)[0])
    store.release()

    assert joined == LARGE
    joined += b"no view of it is left: it can grow like any other bytearray"


def test_equal_runs_and_repeated_chunks_share_no_memory():
    zeros = bytes(2 * LARGE_BYTES)
    store, chunks = expecting(zeros, zeros)
    for item in chunks.items():
        send(store, *item)
    names = chunks_of(zeros)[0]

    one, other = store.joined(names), store.joined(names)
    one[0] = 1

    assert one[1:] == zeros[1:]
    assert other == zeros


def test_a_chunk_of_a_large_and_of_a_small_run_is_found_in_both():
    small = LARGE[:CHUNK_BYTES]
    store, chunks = expecting(small, LARGE)
    for item in chunks.items():
        send(store, *item)

    assert store.joined(chunks_of(small)[0]) == small
    assert store.joined(chunks_of(LARGE)[0]) == LARGE


def test_unprepared_chunks_are_joined_too():
    names, chunks = chunks_of(LARGE)
    store = ChunkStore()

    assert {send(store, *item) for item in chunks.items()} == {False}
    assert store.joined(names) == LARGE


def test_no_memory_is_allocated_for_a_run_of_unknown_size():
    names, chunks = chunks_of(LARGE)
    store = ChunkStore()
    store.prepare([names], dict.fromkeys(names[1:], CHUNK_BYTES))

    assert {send(store, *item) for item in chunks.items()} == {False}
    assert store.joined(names) == LARGE


@pytest.mark.parametrize("is_expected", [True, False])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: None, "is missing"),
        (lambda part: part[:-1] + b"?", "is damaged"),
        (lambda part: part[:-1], "is damaged|has 524287 bytes, its manifest says 524288"),
    ],
    ids=["missing", "damaged", "cut"],
)
def test_a_missing_or_damaged_chunk_is_reported(is_expected, change, reason):
    store, chunks = expecting(LARGE) if is_expected else (ChunkStore(), chunks_of(LARGE)[1])
    bad = list(chunks)[3]
    for name, part in chunks.items():
        changed = change(part) if name == bad else part
        if changed is not None:
            send(store, name, changed)

    with pytest.raises(DamagedCheckpoint, match=f"{bad.hex()} ({reason})"):
        store.joined(chunks_of(LARGE)[0])
