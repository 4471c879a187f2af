"""The inventory of a session's chunks, as its owner knows it: which are stored, and which must not be removed.

A chunk is stored before a committed manifest names it, and removed after the last such manifest has been removed. In
between, snapshots may be on their way: their chunks are needed although no stored manifest names them yet. A chunk that
is being removed no longer counts as stored, although it may be needed again at once: a snapshot that brings it waits
until the removal is done.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager

from skep_shared.chunks.stored_manifest import IN_REDIS, Chunk


class ChunkInventory:
    """The chunks of one session during one residency."""

    def __init__(self, epoch: int = IN_REDIS) -> None:
        """`epoch`: of the chunks that are put into a store, IN_REDIS without one."""
        self._epoch = epoch
        self._stored: dict[bytes, Chunk] = {}
        self._in_commits: dict[bytes, Chunk] = {}  # in commits that have not been written, and may never be
        self._arriving: Counter[bytes] = Counter()  # a count: several snapshots in a row may bring the same chunk
        self._snapshots: dict[int, list[frozenset[bytes]]] = {}  # by cell; a process that leaves may send several
        self._being_removed: frozenset[bytes] = frozenset()
        self._doubtful: set[bytes] = set()  # of snapshots that could not be stored; these chunks may be
        self._has_orphans = False
        self._removal_done = asyncio.Event()
        self._removal_done.set()

    def is_stored(self, name: bytes) -> bool:
        """Return whether a chunk needs no storing."""
        return name in self._stored and name not in self._being_removed

    def expect(self, name: bytes) -> None:
        """Retain a chunk that a snapshot has brought."""
        self._arriving[name] += 1

    def record_stored(self, chunk: Chunk) -> None:
        """Record where a chunk is stored."""
        self._stored[chunk.name] = chunk
        self._doubtful.discard(chunk.name)

    def is_known(self, name: bytes) -> bool:
        """Return whether a chunk is stored, or will be by a commit."""
        return name in self._stored or name in self._in_commits

    def record_in_commit(self, chunk: Chunk) -> None:
        """Record a chunk that a commit will store."""
        self._in_commits[chunk.name] = chunk

    def find(self, name: bytes) -> Chunk:
        """Return what is known of a chunk that a snapshot names."""
        return self._stored.get(name) or self._in_commits.get(name) or Chunk(name)

    def find_to_remove(self, name: bytes) -> Chunk:
        """Return where a chunk to remove is, or may be if storing it failed."""
        return self._stored.get(name) or Chunk(name, epoch=self._epoch if name in self._doubtful else IN_REDIS)

    def add_snapshot(self, seq: int, names: Iterable[bytes], brought: Iterable[bytes] | None = None) -> None:
        """Retain the chunks of the snapshot after the cell of `seq` until it or a later one has been committed.

        brought: those that were expected for this snapshot, by default all. Chunks of the next snapshot may have begun
        to arrive.
        """
        named = frozenset(names)
        self._snapshots.setdefault(seq, []).append(named)
        self._arriving -= Counter(named if brought is None else brought)

    def record_commit(self, seq: int, chunks: Iterable[Chunk]) -> None:
        """Record that a manifest with these chunks has been committed."""
        named = {chunk.name: chunk for chunk in chunks}
        self._stored.update(named)
        for name in self._in_commits.keys() & named.keys():
            del self._in_commits[name]
        del self._snapshots.get(seq, [])[:1]
        self._snapshots = {other: names for other, names in self._snapshots.items() if names and other >= seq}

    def forget_arriving(self) -> None:
        """Forget the snapshot that was arriving: its process has ended."""
        self._arriving.clear()
        self._has_orphans = True

    def release(self, names: Iterable[bytes]) -> None:
        """Stop retaining chunks that were expected but belong to no snapshot."""
        self._arriving -= Counter(names)
        self._has_orphans = True

    def record_failure(self, brought: Iterable[bytes]) -> None:
        """Forget a snapshot that could not be stored, and the chunks that it brought."""
        names = list(brought)
        self._arriving -= Counter(names)
        self._doubtful.update(name for name in names if name not in self._stored)
        self._has_orphans = True

    def add_leftovers(self, chunks: Iterable[Chunk]) -> None:
        """Add chunks found in storage, which may be of snapshots that a dead owner never committed."""
        for chunk in chunks:
            self._stored.setdefault(chunk.name, chunk)
        self._has_orphans = True

    def pop_orphans(self, named: Container[bytes]) -> set[bytes]:
        """Return, once, the session's own chunks that neither a retained manifest nor a snapshot on its way names."""
        if not self._has_orphans:
            return set()
        self._has_orphans = False
        needed = self.needed()
        own = {name for name, chunk in self._stored.items() if chunk.home == 0} | self._doubtful
        return {name for name in own if name not in named and name not in needed}

    def needed(self) -> set[bytes]:
        """Return the chunks that snapshots on their way consist of."""
        return set(self._arriving).union(*itertools.chain.from_iterable(self._snapshots.values()))

    @contextmanager
    def removing(self, names: Iterable[bytes]) -> Iterator[None]:
        """Treat chunks as removed, and make snapshots that bring one of them wait until the removal is done."""
        self._being_removed = frozenset(names)
        self._removal_done.clear()
        try:
            yield
        finally:
            self._being_removed = frozenset()
            self._removal_done.set()

    def record_removal(self, names: Iterable[bytes]) -> None:
        """Record that chunks have been removed for good."""
        for name in names:
            self._stored.pop(name, None)
            self._doubtful.discard(name)

    def is_removing(self, names: Iterable[bytes]) -> bool:
        """Return whether any of these is being removed."""
        return not self._being_removed.isdisjoint(names)

    async def wait_for_removal(self, names: Iterable[bytes]) -> None:
        """Wait until none of these is being removed."""
        while self.is_removing(names):
            await self._removal_done.wait()
