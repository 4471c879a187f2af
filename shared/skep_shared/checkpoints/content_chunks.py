"""Bytes as chunks, addressed by content.

A chunk's name is the 128-bit xxh3 hash of its bytes, which runs at memory speed. It guards against accidents, not
against somebody who writes to Redis: whoever can do that has the session anyway.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from xxhash import xxh3_128_digest

CHUNK_BYTES: Final = 512 * 1024

Digest = bytes
DIGEST_BYTES: Final = 16


def digest(data: bytes | memoryview) -> Digest:
    """Return the 16-byte name of a chunk."""
    return xxh3_128_digest(data)


def split(data: bytes | memoryview, known: Sequence[Digest | None] = ()) -> Iterator[tuple[Digest, memoryview]]:
    """Yield (name, bytes) of the chunks of `data`, in order; nothing is copied.

    known: names of chunks that needn't be hashed, for all of them or none.
    """
    view = memoryview(data).cast("B")
    for index, start in enumerate(range(0, len(view), CHUNK_BYTES)):
        part = view[start : start + CHUNK_BYTES]
        yield (known[index] if known else None) or digest(part), part


def joined_names(joined: bytes) -> Iterator[Digest]:
    """Yield the names that were joined to one string."""
    return (joined[start : start + DIGEST_BYTES] for start in range(0, len(joined), DIGEST_BYTES))
