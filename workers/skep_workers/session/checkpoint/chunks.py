"""Bytes as chunks, addressed by content.

A chunk's name is the 128-bit xxh3 hash of its bytes, which runs at memory speed. It guards against accidents, not
against somebody who writes to Redis: whoever can do that has the session anyway.
"""

from collections.abc import Iterator
from typing import Final

from xxhash import xxh3_128_digest

CHUNK_BYTES: Final = 512 * 1024

Digest = bytes


def digest(data: bytes | memoryview) -> Digest:
    """Give the 16-byte name of a chunk."""
    return xxh3_128_digest(data)


def split(data: bytes | memoryview) -> Iterator[tuple[Digest, memoryview]]:
    """Yield (name, bytes) of the chunks of `data`, in order; nothing is copied."""
    view = memoryview(data).cast("B")
    for start in range(0, len(view), CHUNK_BYTES):
        part = view[start : start + CHUNK_BYTES]
        yield digest(part), part
