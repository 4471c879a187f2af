"""Chunks in their stored form: compressed where that pays off, and read back unchanged."""

import random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from skep_shared.chunks.stored_form import (
    LARGEST_BYTES,
    PLAIN,
    SMALLEST_BYTES,
    THREAD_BYTES,
    ZSTD,
    DamagedChunk,
    from_stored,
    from_stored_in_thread,
    to_stored,
    to_stored_in_thread,
)

NOISE = random.Random(1).randbytes(THREAD_BYTES)
TEXT = b"the quick brown fox " * (THREAD_BYTES // 10)


CHUNKS = st.binary(max_size=200) | st.builds(
    lambda part, times: part * times, st.binary(max_size=9), st.integers(0, 9999)
)


@given(st.lists(CHUNKS, max_size=8))
def test_every_chunk_is_read_back_unchanged(chunks):
    assert [from_stored(stored) for stored in to_stored(chunks)] == chunks


def test_only_chunks_that_shrink_by_a_tenth_are_compressed():
    text, noise = to_stored([TEXT, NOISE])

    assert text[:1] == ZSTD
    assert len(text) < len(TEXT) // 10
    assert noise == PLAIN + NOISE


def test_small_chunks_are_not_compressed():
    small, larger = to_stored([b"x" * SMALLEST_BYTES, b"x" * (SMALLEST_BYTES + 1)])

    assert (small[:1], larger[:1]) == (PLAIN, ZSTD)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\7abc",
        ZSTD,
        ZSTD + b"abc",
        to_stored([TEXT])[0][:-5],
        ZSTD + zstandard.ZstdCompressor().compress(b"\0" * (LARGEST_BYTES + 1)),
        ZSTD + zstandard.ZstdCompressor(write_content_size=False).compress(TEXT),
    ],
    ids=["empty", "unknown form", "no frame", "garbage", "cut", "too large", "no size"],
)
def test_malformed_bytes_are_refused(damaged):
    with pytest.raises(DamagedChunk):
        from_stored(damaged)


@pytest.mark.anyio
@pytest.mark.parametrize("chunks", [[b"a", b"b"], [TEXT, NOISE]], ids=["small", "large"])
async def test_the_result_in_a_thread_is_the_same(chunks):
    stored = await to_stored_in_thread(chunks)

    assert stored == to_stored(chunks)
    assert await from_stored_in_thread([*stored, None, b"\7"]) == [*chunks, None, None]
