"""What is stored of a session's chunks, as its owner knows it, and which of them must not be removed.

A chunk is stored before a committed manifest names it, and removed after the last such manifest has gone. Between the
two stand snapshots that are on their way: what they consist of is needed, though no manifest says so yet. And a chunk
that is being removed is not there any more, though it may be again in a moment: a snapshot that brings it waits.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager

from skep_shared.manifests import Chunk


class Holdings:
    """The chunks of one session during one stay."""

    def __init__(self) -> None:
        self._stored: dict[bytes, Chunk] = {}
        self._riding: dict[bytes, Chunk] = {}  # in commits that have not been written, and may never be
        self._arriving: Counter[bytes] = Counter()  # how often: snapshots behind each other may bring the same chunk
        self._snapshots: dict[int, list[frozenset[bytes]]] = {}  # by the cell; a process that leaves may send several
        self._leaving: frozenset[bytes] = frozenset()
        self._doubtful: set[bytes] = set()  # of snapshots that could not be stored: there, perhaps
        self._has_orphans = False
        self._settled = asyncio.Event()
        self._settled.set()

    def is_stored(self, name: bytes) -> bool:
        """Tell whether a chunk needs no storing."""
        return name in self._stored and name not in self._leaving

    def expect(self, name: bytes) -> None:
        """Keep a chunk that has come with a snapshot."""
        self._arriving[name] += 1

    def store(self, chunk: Chunk) -> None:
        """Note where a chunk is."""
        self._stored[chunk.name] = chunk
        self._doubtful.discard(chunk.name)

    def is_known(self, name: bytes) -> bool:
        """Tell whether a chunk is stored, or will be by a commit."""
        return name in self._stored or name in self._riding

    def ride(self, chunk: Chunk) -> None:
        """Note a chunk that will be stored by a commit."""
        self._riding[chunk.name] = chunk

    def find(self, name: bytes) -> Chunk:
        """Give what is known of a chunk that a snapshot names."""
        return self._stored.get(name) or self._riding.get(name) or Chunk(name)

    def snapshot(self, seq: int, names: Iterable[bytes], brought: Iterable[bytes] | None = None) -> None:
        """Keep what the snapshot after the cell of `seq` names, until it or a later one has been committed.

        brought: those that were expected for its sake, by default all; the next one's may have begun to come.
        """
        named = frozenset(names)
        self._snapshots.setdefault(seq, []).append(named)
        self._arriving -= Counter(named if brought is None else brought)

    def commit(self, seq: int, chunks: Iterable[Chunk]) -> None:
        """Note that a manifest has been committed."""
        named = {chunk.name: chunk for chunk in chunks}
        self._stored.update(named)
        for name in self._riding.keys() & named.keys():
            del self._riding[name]
        del self._snapshots.get(seq, [])[:1]
        self._snapshots = {other: names for other, names in self._snapshots.items() if names and other >= seq}

    def abandon(self) -> None:
        """Forget the snapshot that was coming: its process has ended."""
        self._arriving.clear()
        self._has_orphans = True

    def fail(self, brought: Iterable[bytes]) -> None:
        """Forget a snapshot that could not be stored, with the chunks that it brought."""
        names = list(brought)
        self._arriving -= Counter(names)
        self._doubtful.update(name for name in names if name not in self._stored)
        self._has_orphans = True

    def find_left(self, chunks: Iterable[Chunk]) -> None:
        """Note chunks that are there, perhaps of snapshots which an owner that died never committed."""
        for chunk in chunks:
            self._stored.setdefault(chunk.name, chunk)
        self._has_orphans = True

    def take_orphans(self, named: Container[bytes]) -> set[bytes]:
        """Give, once, the session's own chunks that neither a kept manifest nor a snapshot on its way names."""
        if not self._has_orphans:
            return set()
        self._has_orphans = False
        needed = self.needed()
        own = {name for name, chunk in self._stored.items() if chunk.home == 0} | self._doubtful
        return {name for name in own if name not in named and name not in needed}

    def needed(self) -> set[bytes]:
        """Give the chunks that snapshots on their way consist of."""
        return set(self._arriving).union(*itertools.chain.from_iterable(self._snapshots.values()))

    @contextmanager
    def removing(self, names: Iterable[bytes]) -> Iterator[None]:
        """Treat chunks as gone, and let snapshots that bring one of them wait until that is done."""
        self._leaving = frozenset(names)
        self._settled.clear()
        try:
            yield
        finally:
            self._leaving = frozenset()
            self._settled.set()

    def removed(self, names: Iterable[bytes]) -> None:
        """Note that chunks are gone for good."""
        for name in names:
            self._stored.pop(name, None)
            self._doubtful.discard(name)

    def is_removing(self, names: Iterable[bytes]) -> bool:
        """Tell whether any of these is being removed."""
        return not self._leaving.isdisjoint(names)

    async def settled(self, names: Iterable[bytes]) -> None:
        """Wait until none of these is being removed."""
        while self.is_removing(names):
            await self._settled.wait()
