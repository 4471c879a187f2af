"""A manifest as the host and clients pass it on: its bytes, and where its chunks are.

A session process makes the manifest; the host adds where the chunks are stored. A fork takes over its origin's manifest
with every chunk one origin further away, so that each chunk is read from its place in one step.

A manifest is compressed in Redis if that saves at least a tenth, as chunks are: that of a large state consists mostly
of chunk names, each of them twice. The first byte distinguishes the two: no packed map begins with the byte that a
compressed form begins with.

Only the fields that the host needs are unpacked: skipping the groups makes reading a large manifest several times
faster, and their chunk names take no memory. Adding a field copies the other fields' bytes for the same reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgpack

from skep_shared.checkpoints.manifest import BLOBS, LOST, STORED, UPLOAD, Manifest
from skep_shared.checkpoints.manifest_check import unpack_checked
from skep_shared.chunks.stored_form import ZSTD, from_stored, to_stored
from skep_shared.foreign_errors import describe_error

MANIFEST_FIELD: Final = b"m"  # of an entry in the stream of checkpoints
IN_REDIS: Final = 0  # an epoch that no owner has: the chunk is in the hash of blobs, not in a store
LONGEST_HEADER_BYTES: Final = 5  # of a map
_READ_FIELDS: Final = frozenset({BLOBS, LOST, STORED, UPLOAD})


class Chunk(NamedTuple):
    """A chunk that a manifest names, by the hash of its content, and where it is; a size of 0 means unknown.

    home: 0 for the session's own, n for the n-th of its origins. epoch: of the owner that stored it, or IN_REDIS.
    """

    name: bytes
    raw_bytes: int = 0
    stored_bytes: int = 0
    home: int = 0
    epoch: int = IN_REDIS


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest whose chunks are stored.

    packed: its uncompressed bytes, as a session process reads them. is_upload: the host made it from the one before by
    changing a file.
    """

    packed: bytes
    chunks: list[Chunk]
    lost: dict[str, str]
    is_upload: bool = False

    def content(self) -> Manifest:
        """Unpack all of it. Raises ValueError for a manifest of another version."""
        return unpack_checked(self.packed)

    def for_fork(self) -> "StoredManifest":
        """Return the manifest as a fork of the session has it. Raises ValueError."""
        chunks = [chunk._replace(home=chunk.home + 1) for chunk in self.chunks]
        try:
            fields = msgpack.unpackb(self.packed, unicode_errors="surrogatepass")
        except (msgpack.UnpackException, ValueError, TypeError) as exc:  # in a part that `unpack` has skipped
            raise ValueError(f"a manifest was expected: {describe_error(exc)}") from exc
        packed: bytes = msgpack.packb(fields | {STORED: _columns(chunks)}, unicode_errors="surrogatepass")
        return StoredManifest(packed, chunks, self.lost, self.is_upload)

    def pack(self) -> bytes:
        """Return the bytes that Redis stores."""
        [stored] = to_stored([self.packed])
        return stored if stored[:1] == ZSTD else self.packed

    @classmethod
    def unpack(cls, stored: bytes) -> "StoredManifest":
        """Read a manifest from Redis. Raises ValueError."""
        packed = _decompress(stored)
        fields = _read_fields(packed)
        names = fields[BLOBS]
        if STORED in fields:
            chunks = list(map(Chunk._make, zip(names, *_checked_columns(fields[STORED]), strict=True)))
        else:
            chunks = [Chunk(name) for name in names]
        return cls(packed, chunks, fields.get(LOST, {}), bool(fields.get(UPLOAD)))


@dataclass(frozen=True, slots=True)
class UnstoredManifest:
    """A manifest as a session process sends it. names: of its chunks, each once."""

    packed: bytes
    names: list[bytes]
    lost: dict[str, str]

    @classmethod
    def of(cls, manifest: Manifest) -> "UnstoredManifest":
        """Pack a manifest."""
        return cls(manifest.pack(), manifest.digests(), manifest.lost)

    @classmethod
    def unpack(cls, packed: bytes) -> "UnstoredManifest":
        """Read a manifest. Raises ValueError."""
        fields = _read_fields(packed)
        return cls(packed, fields[BLOBS], fields.get(LOST, {}))

    def with_chunks(self, chunks: list[Chunk], *, is_upload: bool = False) -> StoredManifest:
        """Return the manifest with where its chunks are, in the order of `names`."""
        mark = {UPLOAD: True} if is_upload else {}
        packed = _append(self.packed, mark | {STORED: _columns(chunks)})
        return StoredManifest(packed, chunks, self.lost, is_upload)


def unpack_content(stored: bytes) -> Manifest:
    """Read all of a manifest from Redis. Raises ValueError."""
    return unpack_checked(_decompress(stored))


def _decompress(stored: bytes) -> bytes:
    return bytes(from_stored(stored)) if stored[:1] == ZSTD else stored


def _read_fields(packed: bytes) -> dict[str, Any]:
    """Unpack the fields that the host needs, and check their types: a session process may send anything.

    Raises ValueError.
    """
    fields: dict[str, Any] = {}
    try:
        reader = _reader(packed)
        for _ in range(reader.read_map_header()):
            name = reader.unpack()
            if name in _READ_FIELDS:
                fields[name] = reader.unpack()
            else:
                reader.skip()
    except (msgpack.UnpackException, ValueError, TypeError) as exc:  # TypeError: a list as a key
        raise ValueError(f"a manifest was expected: {describe_error(exc)}") from exc
    if not _is_list_of(fields.get(BLOBS), bytes) or reader.tell() != len(packed):
        raise ValueError("a manifest was expected")
    lost = fields.get(LOST, {})
    if not isinstance(lost, dict) or not _is_list_of([*lost, *lost.values()], str):
        raise ValueError(f"a manifest was expected: {LOST} is no map of texts")
    return fields


def _checked_columns(columns: Any) -> list[list[int]]:
    """Return the host's facts about each chunk. Raises ValueError unless all are numbers from 0 on."""
    count = len(Chunk._fields) - 1
    is_complete = isinstance(columns, list) and len(columns) == count
    if is_complete and all(_is_list_of(column, int) and min(column, default=0) >= 0 for column in columns):
        checked: list[list[int]] = columns
        return checked
    raise ValueError(f"a manifest was expected: {STORED} is not {count} lists of numbers")


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and set(map(type, value)) <= {kind}


def _append(packed: bytes, fields: dict[str, Any]) -> bytes:
    """Add fields to a packed map without unpacking it."""
    reader = _reader(packed[:LONGEST_HEADER_BYTES])
    count = reader.read_map_header()
    packer = msgpack.Packer()
    added = [packer.pack(each) for field in fields.items() for each in field]
    return b"".join((packer.pack_map_header(count + len(fields)), memoryview(packed)[reader.tell() :], *added))


def _reader(packed: bytes) -> Any:
    reader = msgpack.Unpacker(unicode_errors="surrogatepass", max_buffer_size=max(1, len(packed)))
    reader.feed(packed)
    return reader


def _columns(chunks: Sequence[Chunk]) -> list[tuple[int, ...]]:
    """Return the host's facts about each chunk, without its name, as parallel lists."""
    if not chunks:
        return [()] * (len(Chunk._fields) - 1)
    _, *columns = zip(*chunks, strict=True)
    return columns
