"""Large buffers that stand still aren't hashed again: the kernel tells which of their pages were written.

Memory is known by its address, not by the object that has it: as long as none of its pages was written since they were
hashed, their chunks have the names they had, whoever owns the memory by now. See `page_watch` for how far that is sure.

Writing to a watched page for the first time takes a fault, so only a buffer that stood still is watched: one whose
chunks were mostly the same in two snapshots. One that was rewritten after all is let go, and has to stand still for
twice as many snapshots before it is watched again; so what faults have cost in vain stays below what was saved.
"""

import ctypes
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from skep_shared.content_chunks import CHUNK_BYTES, Digest
from skep_shared.originals import os
from skep_workers.session.checkpoint.unchanged.page_watch import PAGE, PageWatch, Range, may_miss_writes

WATCHED_BYTES: Final = 4 * 1024 * 1024  # hashing less takes less than looking would save
MOST_WATCHED: Final = 256  # buffers; each costs the kernel a mapping
MOST_PATIENCE: Final = 1024
_BUFFER_WORDS: Final = 32  # of a Py_buffer, and some more

Place = tuple[int, int]  # address, bytes
Known = Mapping[Place, list[Digest | None]]  # by chunk; None: to be hashed


@dataclass(slots=True)
class _Buffer:
    """One place: what it held, for how many snapshots it has stood still, and how many it must to be watched."""

    digests: list[Digest]
    still_for: int = 0
    patience: int = 1
    is_watched: bool = False
    known: list[Digest | None] = field(default_factory=list)


class StillBuffers:
    """The large buffers of a session's last snapshot."""

    def __init__(self, open_watch: Callable[[], PageWatch | None] = PageWatch.open) -> None:
        self._open_watch = open_watch
        self._watch: PageWatch | None = None
        self._is_tried = False
        self._pid = os.getpid()
        self._buffers: dict[Place, _Buffer] = {}

    def look(self, *, has_threads: bool) -> Known:
        """Give what is known of buffers, before a snapshot reads any; what is written from here on counts for the next.

        has_threads: there are threads, which may be in the middle of direct I/O.
        """
        self._begin_anew_in_a_fork()
        wanted = [place for place, buffer in self._buffers.items() if buffer.still_for >= buffer.patience]
        if not wanted:
            return {}
        if not self._is_tried:
            self._is_tried, self._watch = True, self._open_watch()
        watch = self._watch
        if watch is None:
            return {}
        if has_threads or may_miss_writes():
            for place in wanted:
                self._let_go(place, watch)
            return {}
        for place in wanted[:MOST_WATCHED]:
            self._look_at(place, watch)
        return {place: buffer.known for place, buffer in self._buffers.items() if buffer.is_watched}

    @property
    def descriptors(self) -> set[int]:
        """Give the descriptors that it holds."""
        return set() if self._watch is None else self._watch.descriptors

    def begin_as_twin(self) -> None:
        """Go on in a fork: what the kernel notes is of the parent's pages."""
        if self._watch is not None:
            self._watch.close()
        self._watch, self._is_tried, self._pid = None, False, os.getpid()
        for buffer in self._buffers.values():
            buffer.is_watched, buffer.known = False, []

    def _begin_anew_in_a_fork(self) -> None:
        """Forget all in a process that was forked from a session's: the watch is of its parent's memory.

        Its descriptors are left alone: whoever made the fork may have closed them, and others have their numbers.
        """
        if os.getpid() != self._pid:
            self._pid = os.getpid()
            self._watch, self._is_tried, self._buffers = None, False, {}

    def _look_at(self, place: Place, watch: PageWatch) -> None:
        buffer, pages = self._buffers[place], _pages(place)
        try:
            if buffer.is_watched:
                clean = _clean_chunks(place, watch.clean(pages))
                buffer.known = [name if index in clean else None for index, name in enumerate(buffer.known)]
                if buffer.known.count(None) <= len(buffer.known) // 2:
                    return
                self._let_go(place, watch)
                buffer.patience = min(2 * buffer.patience, MOST_PATIENCE)
            else:
                watch.protect(pages)
                buffer.is_watched, buffer.known = True, [None] * len(buffer.digests)
        except OSError:  # it isn't what was protected any more, or can't be
            self._let_go(place, watch)

    def _let_go(self, place: Place, watch: PageWatch) -> None:
        buffer = self._buffers[place]
        if buffer.is_watched:
            watch.release(_pages(place))
        buffer.is_watched, buffer.known, buffer.still_for = False, [], 0

    def adopt(self, learned: Mapping[Place, list[Digest]]) -> bool:
        """Take what a snapshot has found in large buffers; tells whether more is known of them now than before."""
        self._begin_anew_in_a_fork()
        is_news = False
        for place in self._buffers.keys() - learned.keys():
            if self._watch is not None:
                self._let_go(place, self._watch)
            del self._buffers[place]
        for place, digests in learned.items():
            buffer = self._buffers.setdefault(place, _Buffer([]))
            unchanged = sum(map(Digest.__eq__, buffer.digests, digests))
            buffer.still_for = buffer.still_for + 1 if unchanged > len(digests) // 2 else 0
            buffer.digests = digests
            if buffer.is_watched:
                is_news = is_news or buffer.known != digests
                buffer.known = list(digests)
        return is_news


def place_of(view: memoryview) -> Place:
    """Give where a buffer's memory is."""
    words = (ctypes.c_size_t * _BUFFER_WORDS)()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), words, 0)
    address = words[0]
    ctypes.pythonapi.PyBuffer_Release(words)
    return address, view.nbytes


def _pages(place: Place) -> Range:
    address, size = place
    return address // PAGE * PAGE, -(-(address + size) // PAGE) * PAGE


def _clean_chunks(place: Place, clean: Iterable[Range]) -> set[int]:
    """Give the indexes of the chunks that lie in clean pages."""
    address, size = place
    found: set[int] = set()
    for start, end in clean:
        first = -(-max(0, start - address) // CHUNK_BYTES)
        behind = -(-size // CHUNK_BYTES) if end >= address + size else (end - address) // CHUNK_BYTES
        found.update(range(first, behind))
    return found
