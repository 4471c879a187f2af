"""The chunks that the host sends for one restore.

The chunks of a large buffer are received at their final places: memory for the whole buffer is allocated first, and
each chunk is checked on arrival, while the next one is on its way. New memory costs a process more than filling it, so
nothing large is held twice.
"""

import ctypes
import mmap
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from skep_shared.checkpoints.content_chunks import Digest, digest

LARGE_BYTES: Final = 4 * 1024 * 1024
HUGE_PAGE: Final = 2 * 1024 * 1024

# Function objects of our own: the attributes of `ctypes.pythonapi` are shared with user code.
_new_bytearray = ctypes.pythonapi["PyByteArray_FromStringAndSize"]
_new_bytearray.restype, _new_bytearray.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_ssize_t)
_advise = ctypes.CDLL(None)["madvise"]
_advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class DamagedCheckpoint(Exception):
    """A chunk is missing, or its content doesn't match its name."""


class ChunkStore:
    """Receives chunks, and joins them."""

    def __init__(self) -> None:
        self._chunks: dict[Digest, bytes] = {}
        self._rooms: dict[bytes, list[bytearray]] = {}  # by the joined names of their chunks
        self._places: dict[Digest, list[memoryview]] = {}
        self._elsewhere: set[Digest] = set()  # chunks that a small run has, too
        self._damage: dict[Digest, str] = {}

    def prepare(self, runs: Iterable[Sequence[Digest]], sizes: Mapping[Digest, int]) -> None:
        """Allocate memory for each large run of chunks whose sizes are known. Raises MemoryError."""
        for names in runs:
            lengths = [sizes.get(name, 0) for name in names]
            if 0 in lengths or sum(lengths) < LARGE_BYTES:
                self._elsewhere.update(names)
                continue
            room, start = _memory(sum(lengths)), 0
            self._rooms.setdefault(b"".join(names), []).append(room)
            for name, length in zip(names, lengths, strict=True):
                self._places.setdefault(name, []).append(memoryview(room)[start : start + length])
                self._damage[name] = f"chunk {name.hex()} is missing"
                start += length

    def destination(self, name: Digest, size: int) -> memoryview | None:
        """Return where a chunk can be received, None if `add` has to copy it."""
        first = next(iter(self._places.get(name, ())), None)
        return first if first is not None and len(first) == size else None

    def add(self, name: Digest, data: bytes | memoryview) -> None:
        """Add a chunk; it is not copied if it was received at its destination."""
        places = self._places.get(name)
        if places is None or name in self._elsewhere:
            self._chunks[name] = bytes(data)
        if places is None:
            return
        if len(data) != len(places[0]):
            self._damage[name] = f"chunk {name.hex()} has {len(data)} bytes, its manifest says {len(places[0])}"
            return
        self._damage[name] = _damage(name, data)
        for place in places:
            if place is not data:
                place[:] = data

    def joined(self, names: Sequence[Digest]) -> bytearray:
        """Return the checked bytes of these chunks, only once if memory was allocated for them.

        Raises DamagedCheckpoint.
        """
        rooms = self._rooms.get(b"".join(names))
        if rooms:
            for name in names:
                _raise_if(self._damage[name])
            return rooms.pop()
        parts = []
        for name in names:
            data = self._chunks.get(name)
            _raise_if(f"chunk {name.hex()} is missing" if data is None else _damage(name, data))
            parts.append(data or b"")
        return bytearray().join(parts)

    def release(self) -> None:
        """Release the memory that chunks were received into: it belongs to its owners now."""
        for places in self._places.values():
            for place in places:
                place.release()
        self._places.clear()


def _damage(name: Digest, data: bytes | memoryview) -> str:
    found = digest(data)
    return "" if found == name else f"chunk {name.hex()} is damaged: its bytes hash to {found.hex()}"


def _raise_if(damage: str) -> None:
    if damage:
        raise DamagedCheckpoint(damage)


def _memory(size: int) -> bytearray:
    """Return new memory: not cleared, since all of it will be written, and in huge pages if possible."""
    memory: bytearray = _new_bytearray(None, size)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    first, end = -(-start // HUGE_PAGE) * HUGE_PAGE, (start + size) // HUGE_PAGE * HUGE_PAGE
    if first < end:
        _advise(first, end - first, mmap.MADV_HUGEPAGE)  # as NumPy does for its arrays; only a hint
    return memory
