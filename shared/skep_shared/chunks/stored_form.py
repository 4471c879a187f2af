"""A chunk as it is stored: a byte for the form, then the chunk's bytes, compressed where that saves enough.

A chunk is named by the hash of its uncompressed bytes, so only the host needs to know whether it is compressed.
Sessions' states mostly consist of text and numbers, which zstd's fastest level shrinks to a third, or of noise, which
can't be compressed; that level detects it quickly. Higher levels take twice the time for a few percent.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import zstandard

from skep_shared.signing import SEAL, SEAL_BYTES

PLAIN: Final = b"\0"
ZSTD: Final = b"\1"
LEVEL: Final = 1
SMALLEST_BYTES: Final = 4 * 1024  # below, compressing and decompressing costs more than it saves
THREAD_BYTES: Final = 256 * 1024  # above, the event loop would be blocked for a millisecond or more
LARGEST_BYTES: Final = 64 * 1024 * 1024  # limits what a damaged length makes the host allocate; chunks are far smaller


class DamagedChunk(ValueError):
    """Stored bytes can't be decoded as a chunk."""


def to_stored(chunks: Sequence[bytes]) -> list[bytes]:
    """Return the stored form of each chunk; compressed only if that saves at least a tenth."""
    compressor = zstandard.ZstdCompressor(level=LEVEL)  # must not be shared between threads, and is cheap
    return [_compress(compressor, chunk) for chunk in chunks]


def from_stored(stored: bytes) -> bytes | memoryview:
    """Return the chunk, as a view of the stored bytes if they are plain. Raises DamagedChunk."""
    kind, body = stored[:1], memoryview(stored)[1:]
    if kind == PLAIN:
        return body
    if kind == SEAL[:1]:  # signed, and read by a worker without a key
        kind, body = stored[SEAL_BYTES : SEAL_BYTES + 1], body[SEAL_BYTES:]
        if kind == PLAIN:
            return body
    if kind != ZSTD:
        raise DamagedChunk(f"unknown form {kind!r}")
    try:
        size = zstandard.frame_content_size(body)
        if not 0 <= size <= LARGEST_BYTES:
            raise DamagedChunk(f"a chunk of {size} bytes")
        return zstandard.ZstdDecompressor().decompress(body)
    except zstandard.ZstdError as exc:
        raise DamagedChunk(str(exc)) from exc


async def to_stored_in_thread(chunks: Sequence[bytes]) -> list[bytes]:
    """Return the stored form of each chunk as `to_stored` does, in a thread if it takes long."""
    if sum(map(len, chunks)) <= THREAD_BYTES:
        return to_stored(chunks)
    return await asyncio.to_thread(to_stored, chunks)


async def from_stored_in_thread(stored: Sequence[bytes | None]) -> list[bytes | memoryview | None]:
    """Return the chunks, None for a missing or damaged one; decompresses in a thread if that takes long."""
    if sum(len(data) for data in stored if data is not None) <= THREAD_BYTES:
        return [_decompress(data) for data in stored]
    return await asyncio.to_thread(lambda: [_decompress(data) for data in stored])


def _compress(compressor: zstandard.ZstdCompressor, chunk: bytes) -> bytes:
    if len(chunk) > SMALLEST_BYTES:
        packed = compressor.compress(chunk)
        if len(packed) <= len(chunk) * 9 // 10:
            return ZSTD + packed
    return PLAIN + chunk


def _decompress(stored: bytes | None) -> bytes | memoryview | None:
    try:
        return None if stored is None else from_stored(stored)
    except DamagedChunk:
        return None
