"""A manifest as everybody but a session process sees it: which chunks a checkpoint consists of, and where they are.

A session process makes the manifest, a msgpack map; the host adds what it knows of the chunks as `stored`: for each of
`blobs` its size, its stored size, whose it is and under which epoch it was stored, as four lists. A fork takes its
origin's manifest over, with every chunk one origin further away, so that each is read from where it is, in one step.

A manifest that shrinks by it is compressed, as chunks are: one of a large state is mostly names of chunks, all of them
twice. The first byte tells, since a map begins with none that a stored form begins with.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgpack

from skep_shared.checkpoint_ids import CheckpointId
from skep_shared.foreign_errors import describe_error
from skep_shared.stored_form import ZSTD, from_stored, to_stored

IN_REDIS: Final = 0  # an epoch that no owner has: the chunk is in the hash of blobs, not in a store


class Chunk(NamedTuple):
    """A chunk that a manifest names, by the hash of its content, and where it is; sizes of 0 are not known.

    home: 0 for the session's own, n for the n-th of its origins. epoch: the owner that stored it, or IN_REDIS.
    """

    name: bytes
    raw_bytes: int = 0
    stored_bytes: int = 0
    home: int = 0
    epoch: int = IN_REDIS


@dataclass(frozen=True, slots=True)
class Origin:
    """A session that a fork reads chunks of, and the checkpoint that it has pinned there; created_at in ms."""

    session_id: str
    checkpoint: CheckpointId
    created_at: int


def read_origins(text: str) -> tuple[Origin, ...]:
    """Read the field `origins` of a session's hash, nearest first; fork.lua writes it."""
    parts = (origin.split(":") for origin in text.split())  # a session id has neither blank nor colon
    return tuple(Origin(session_id, CheckpointId.parse(pinned), int(created)) for session_id, pinned, created in parts)


def plain_manifest(packed: bytes) -> bytes:
    """Give a manifest as a session process reads it. Raises ValueError."""
    return bytes(from_stored(packed)) if packed[:1] == ZSTD else packed


def read_manifest(packed: bytes) -> dict[str, Any]:
    """Give a manifest's fields, of which only `blobs` and `lost` concern the host. Raises ValueError."""
    try:
        manifest = msgpack.unpackb(plain_manifest(packed), unicode_errors="surrogatepass")
    except msgpack.UnpackException as exc:
        raise ValueError(f"a manifest was expected: {describe_error(exc)}") from exc
    if not isinstance(manifest, dict) or not isinstance(manifest.get("blobs"), list):
        raise ValueError("a manifest was expected")  # noqa: TRY004 - what the bytes say is wrong, not their type
    return manifest


def chunks_of(manifest: dict[str, Any]) -> list[Chunk]:
    """Give the chunks that a manifest names."""
    blobs = manifest["blobs"]
    if "stored" not in manifest:
        return [Chunk(name) for name in blobs]
    return list(map(Chunk._make, zip(blobs, *manifest["stored"], strict=True)))


def with_chunks(manifest: dict[str, Any], chunks: Sequence[Chunk]) -> bytes:
    """Pack a manifest with what is known of its chunks, in the order of `blobs`."""
    _, *columns = zip(*chunks, strict=True) if chunks else [()] * len(Chunk._fields)
    packed: bytes = msgpack.packb({**manifest, "stored": columns}, unicode_errors="surrogatepass")
    [stored] = to_stored([packed])
    return stored if stored[:1] == ZSTD else packed


def for_fork(packed: bytes) -> bytes:
    """Give the manifest as a fork of the session has it."""
    manifest = read_manifest(packed)
    return with_chunks(manifest, [chunk._replace(home=chunk.home + 1) for chunk in chunks_of(manifest)])


def state_bytes(chunks: Iterable[Chunk]) -> int | None:
    """Give the size of the state that these chunks make, None if it is not known."""
    sizes = [chunk.raw_bytes for chunk in chunks]
    return None if 0 in sizes else sum(sizes)
