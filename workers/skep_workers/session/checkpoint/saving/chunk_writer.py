"""Writing what a snapshot consists of as chunks; a chunk that is known to be unchanged is not hashed again."""

from collections.abc import Callable, Sequence
from pickle import dumps  # bound early: user code may patch pickle
from typing import Any

from skep_shared.checkpoints.content_chunks import CHUNK_BYTES, Digest, split
from skep_shared.checkpoints.manifest import Buffer, Entry, Group
from skep_workers.session.checkpoint.saving.streams.stream import Stream
from skep_workers.session.checkpoint.state import State
from skep_workers.session.checkpoint.unchanged.unchanged_buffers import (
    WATCHED_BYTES,
    KnownBuffers,
    LearnedBuffers,
    address_of,
)

StoreChunk = Callable[[bytes, memoryview], None]


class ChunkWriter:
    """Splits streams, buffers and files into chunks; `store_chunk` is called with each chunk's name and bytes."""

    def __init__(self, store_chunk: StoreChunk, known: KnownBuffers) -> None:
        """known: the chunks of large buffers that have not changed since the snapshot before."""
        self._store_chunk = store_chunk
        self._known = known
        self.learned: LearnedBuffers = {}

    def store(self, stream: Stream) -> Group:
        """Store a stream and its buffers."""
        chunks = self._store_all(stream.data)
        buffers = [Buffer(self._store_buffer(buffer.raw()), buffer.raw().readonly) for buffer in stream.buffers]
        return Group(stream.names, chunks, buffers, sorted(stream.notes.named), stream.is_tolerant)

    def store_plain(self, value: Any) -> Group:
        """Store a plain value."""
        return Group([], self._store_all(dumps(value, protocol=5)))

    def store_files(self, state: State) -> list[Entry]:
        """Store the files and packages of a state; return the entries of the files."""
        for run in (*(entry.chunks for entry in state.files), state.packages.archive):
            for name in run:
                if name in state.contents:
                    self._store_chunk(name, memoryview(state.contents[name]))
        return state.files

    def _store_buffer(self, view: memoryview) -> list[Digest]:
        if view.nbytes < WATCHED_BYTES:
            return self._store_all(view)
        address = address_of(view)
        self.learned[address] = digests = self._store_all(view, self._known.get(address, ()))
        return digests

    def _store_all(self, data: bytes | memoryview, known: Sequence[Digest | None] = ()) -> list[Digest]:
        digests = []
        for name, part in split(data, known):
            self._store_chunk(name, part)
            digests.append(name)
        return digests


def count_new_bytes(known: KnownBuffers, view: memoryview) -> int:
    """Return how many bytes of a buffer have to be hashed."""
    digests = known.get(address_of(view)) if view.nbytes >= WATCHED_BYTES else None
    return view.nbytes if digests is None else digests.count(None) * CHUNK_BYTES
