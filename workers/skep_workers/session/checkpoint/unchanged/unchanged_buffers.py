"""Large buffers that haven't changed aren't hashed again: the kernel reports which of their pages were written.

Memory is known by its address, not by the object that has it. As long as none of its pages was written since they were
hashed, their chunks have the same names, even if another object owns the memory by now. See `page_watch` for how
reliable that is.

The first write to a watched page takes a fault, so a buffer is watched only after it was unchanged once: when most of
its chunks were the same in two snapshots. A watched buffer that is rewritten is released, and has to be unchanged for
twice as many snapshots before it is watched again. So useless faults cost less than was saved before.
"""

import ctypes
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from skep_shared.checkpoints.content_chunks import CHUNK_BYTES, Digest
from skep_shared.originals import os
from skep_workers.session.checkpoint.unchanged.page_watch import PAGE, PageWatch, Range, may_miss_writes

WATCHED_BYTES: Final = 4 * 1024 * 1024  # of a smaller buffer, hashing costs less than asking the kernel
MOST_WATCHED: Final = 256  # buffers; each costs the kernel a mapping
MOST_PATIENCE: Final = 1024
_BUFFER_WORDS: Final = 32  # of a Py_buffer, and some more

BufferAddress = tuple[int, int]  # address, bytes
KnownBuffers = Mapping[BufferAddress, list[Digest | None]]  # by chunk; None: to be hashed
LearnedBuffers = dict[BufferAddress, list[Digest]]


@dataclass(slots=True)
class _Buffer:
    """The memory at one address.

    digests: its chunks in the last snapshot. still_for: snapshots since it changed. patience: snapshots that it has to
    be unchanged for before it is watched.
    """

    digests: list[Digest]
    still_for: int = 0
    patience: int = 1
    is_watched: bool = False
    known: list[Digest | None] = field(default_factory=list)


class UnchangedBuffers:
    """The large buffers of a session's last snapshot."""

    def __init__(self, open_watch: Callable[[], PageWatch | None] = PageWatch.open) -> None:
        self._open_watch = open_watch
        self._watch: PageWatch | None = None
        self._is_tried = False
        self._pid = os.getpid()
        self._buffers: dict[BufferAddress, _Buffer] = {}

    def find_unchanged(self, *, has_threads: bool) -> KnownBuffers:
        """Return the chunks that haven't changed; to be called before a snapshot reads any buffer.

        Later writes count for the next snapshot. has_threads: there are threads, which may be in the middle of direct
        I/O.
        """
        self._reset_in_fork()
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
                self._release(place, watch)
            return {}
        for place in wanted[:MOST_WATCHED]:
            self._check(place, watch)
        return {place: buffer.known for place, buffer in self._buffers.items() if buffer.is_watched}

    @property
    def descriptors(self) -> set[int]:
        """Return the open file descriptors."""
        return set() if self._watch is None else self._watch.descriptors

    def begin_as_twin(self) -> None:
        """Continue in a fork: what the kernel records is about the parent's pages."""
        if self._watch is not None:
            self._watch.close()
        self._watch, self._is_tried, self._pid = None, False, os.getpid()
        for buffer in self._buffers.values():
            buffer.is_watched, buffer.known = False, []

    def _reset_in_fork(self) -> None:
        """Forget everything in a process that user code forked from a session's: the watch is of the parent's memory.

        The descriptors are not closed: user code may have closed them already, and their numbers may be in use again.
        """
        if os.getpid() != self._pid:
            self._pid = os.getpid()
            self._watch, self._is_tried, self._buffers = None, False, {}

    def _check(self, place: BufferAddress, watch: PageWatch) -> None:
        buffer, pages = self._buffers[place], _pages(place)
        try:
            if buffer.is_watched:
                clean = _clean_chunks(place, watch.clean_ranges(pages))
                buffer.known = [name if index in clean else None for index, name in enumerate(buffer.known)]
                if buffer.known.count(None) <= len(buffer.known) // 2:
                    return
                self._release(place, watch)
                buffer.patience = min(2 * buffer.patience, MOST_PATIENCE)
            else:
                watch.protect(pages)
                buffer.is_watched, buffer.known = True, [None] * len(buffer.digests)
        except OSError:  # other memory is there by now, or it can't be watched
            self._release(place, watch)

    def _release(self, place: BufferAddress, watch: PageWatch) -> None:
        buffer = self._buffers[place]
        if buffer.is_watched:
            watch.release(_pages(place))
        buffer.is_watched, buffer.known, buffer.still_for = False, [], 0

    def record(self, learned: Mapping[BufferAddress, list[Digest]]) -> bool:
        """Record the chunks that a snapshot found in large buffers; return whether more are known now than before."""
        self._reset_in_fork()
        is_news = False
        for place in self._buffers.keys() - learned.keys():
            if self._watch is not None:
                self._release(place, self._watch)
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


def address_of(view: memoryview) -> BufferAddress:
    """Return where a buffer's memory is."""
    words = (ctypes.c_size_t * _BUFFER_WORDS)()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), words, 0)
    address = words[0]
    ctypes.pythonapi.PyBuffer_Release(words)
    return address, view.nbytes


def _pages(place: BufferAddress) -> Range:
    address, size = place
    return address // PAGE * PAGE, -(-(address + size) // PAGE) * PAGE


def _clean_chunks(place: BufferAddress, clean: Iterable[Range]) -> set[int]:
    """Return the indexes of the chunks that lie in clean pages."""
    address, size = place
    found: set[int] = set()
    for start, end in clean:
        first = -(-max(0, start - address) // CHUNK_BYTES)
        end_index = -(-size // CHUNK_BYTES) if end >= address + size else (end - address) // CHUNK_BYTES
        found.update(range(first, end_index))
    return found
