"""A chunk as it is stored: a byte that says how, then the bytes, compressed where that pays.

The name of a chunk stays the hash of its own bytes, so whether it is compressed is nobody's business but the host's.
Sessions' states are mostly either text and numbers that shrink to a third at once, or noise that doesn't at all, for
which zstd's fastest level gives up soon; higher ones cost twice the time for a few percent.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import zstandard

PLAIN: Final = b"\0"
ZSTD: Final = b"\1"
LEVEL: Final = 1
SMALLEST_BYTES: Final = 4 * 1024  # below, a round trip costs more than what is saved
THREAD_BYTES: Final = 256 * 1024  # above, the loop would be held for a millisecond or more
LARGEST_BYTES: Final = 64 * 1024 * 1024  # what a damaged length may make the host allocate; chunks are far smaller


class DamagedChunk(ValueError):
    """Stored bytes that are no chunk of ours."""


def to_stored(chunks: Sequence[bytes]) -> list[bytes]:
    """Give the stored form of each chunk; compressed only if that saves at least a tenth."""
    compressor = zstandard.ZstdCompressor(level=LEVEL)  # not to be shared between threads, and cheap
    return [_packed(compressor, chunk) for chunk in chunks]


def from_stored(stored: bytes) -> bytes | memoryview:
    """Give the chunk back, as a part of what is stored if that is plain. Raises DamagedChunk."""
    kind, body = stored[:1], memoryview(stored)[1:]
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


async def to_stored_aside(chunks: Sequence[bytes]) -> list[bytes]:
    """Do as `to_stored`, beside the event loop if it takes long."""
    if sum(map(len, chunks)) <= THREAD_BYTES:
        return to_stored(chunks)
    return await asyncio.to_thread(to_stored, chunks)


async def from_stored_aside(stored: Sequence[bytes | None]) -> list[bytes | memoryview | None]:
    """Give chunks back, beside the event loop if it takes long; None for what is missing or damaged."""
    if sum(len(data) for data in stored if data is not None) <= THREAD_BYTES:
        return [_whole(data) for data in stored]
    return await asyncio.to_thread(lambda: [_whole(data) for data in stored])


def _packed(compressor: zstandard.ZstdCompressor, chunk: bytes) -> bytes:
    if len(chunk) > SMALLEST_BYTES:
        packed = compressor.compress(chunk)
        if len(packed) <= len(chunk) * 9 // 10:
            return ZSTD + packed
    return PLAIN + chunk


def _whole(stored: bytes | None) -> bytes | memoryview | None:
    try:
        return None if stored is None else from_stored(stored)
    except DamagedChunk:
        return None
