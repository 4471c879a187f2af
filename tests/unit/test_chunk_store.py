"""Chunks are put where they will stay, whole and checked."""

import pytest

from skep_shared.content_chunks import CHUNK_BYTES, split
from skep_workers.session.checkpoint.restoring.chunk_store import LARGE_BYTES, ChunkStore, DamagedCheckpoint

LARGE = b"".join(bytes([number]) * CHUNK_BYTES for number in range(LARGE_BYTES // CHUNK_BYTES)) + b"the end"


def chunks_of(data):
    parts = [(name, bytes(part)) for name, part in split(data)]
    return [name for name, _ in parts], dict(parts)


def expecting(*runs):
    """Give a store that expects these, and their chunks."""
    store, chunks = ChunkStore(), {}
    for data in runs:
        chunks |= chunks_of(data)[1]
    store.expect([chunks_of(data)[0] for data in runs], {name: len(part) for name, part in chunks.items()})
    return store, chunks


def send(store, name, part):
    """Do as the receiver does."""
    place = store.place(name, len(part))
    if place is not None:
        place[:] = part
    store.put(name, part if place is None else place)
    return place is not None


def test_a_large_run_is_received_where_it_stays_in_any_order():
    store, chunks = expecting(LARGE)

    assert {send(store, *item) for item in reversed(chunks.items())} == {True}
    joined = store.joined(chunks_of(LARGE)[0])
    store.release()

    assert joined == LARGE
    joined += b"it is a bytearray as any other: nobody holds on to it"


def test_equal_runs_and_repeated_chunks_have_memory_of_their_own_each():
    zeros = bytes(2 * LARGE_BYTES)
    store, chunks = expecting(zeros, zeros)
    for item in chunks.items():
        send(store, *item)
    names = chunks_of(zeros)[0]

    one, other = store.joined(names), store.joined(names)
    one[0] = 1

    assert one[1:] == zeros[1:]
    assert other == zeros


def test_a_chunk_of_something_large_and_of_something_small_serves_both():
    small = LARGE[:CHUNK_BYTES]
    store, chunks = expecting(small, LARGE)
    for item in chunks.items():
        send(store, *item)

    assert store.joined(chunks_of(small)[0]) == small
    assert store.joined(chunks_of(LARGE)[0]) == LARGE


def test_what_was_not_expected_is_joined_as_well():
    names, chunks = chunks_of(LARGE)
    store = ChunkStore()

    assert {send(store, *item) for item in chunks.items()} == {False}
    assert store.joined(names) == LARGE


def test_sizes_that_nobody_knows_make_no_room():
    names, chunks = chunks_of(LARGE)
    store = ChunkStore()
    store.expect([names], dict.fromkeys(names[1:], CHUNK_BYTES))

    assert {send(store, *item) for item in chunks.items()} == {False}
    assert store.joined(names) == LARGE


@pytest.mark.parametrize("is_expected", [True, False])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda _: None, "is missing"),
        (lambda part: part[:-1] + b"?", "is damaged"),
        (lambda part: part[:-1], "is damaged|has 524287 bytes, its manifest says 524288"),
    ],
    ids=["missing", "damaged", "cut"],
)
def test_a_chunk_that_is_missing_or_not_what_its_name_says_is_told(is_expected, change, told):
    store, chunks = expecting(LARGE) if is_expected else (ChunkStore(), chunks_of(LARGE)[1])
    bad = list(chunks)[3]
    for name, part in chunks.items():
        changed = change(part) if name == bad else part
        if changed is not None:
            send(store, name, changed)

    with pytest.raises(DamagedCheckpoint, match=f"{bad.hex()} ({told})"):
        store.joined(chunks_of(LARGE)[0])
