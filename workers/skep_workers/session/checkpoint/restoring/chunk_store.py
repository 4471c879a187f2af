"""The chunks that the host sends for one restore.

Those of a large buffer are received where they will stay: memory for the whole of it is there before, and each chunk is
checked as it comes, while the next one is on its way. Memory that is new to a process costs more than what is put into
it, so nothing large is held twice.
"""

import ctypes
import mmap
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from skep_shared.content_chunks import Digest, digest

LARGE_BYTES: Final = 4 * 1024 * 1024
HUGE_PAGE: Final = 2 * 1024 * 1024

# Functions of one's own: what `ctypes.pythonapi` keeps as attributes is everybody's.
_new_bytearray = ctypes.pythonapi["PyByteArray_FromStringAndSize"]
_new_bytearray.restype, _new_bytearray.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_ssize_t)
_advise = ctypes.CDLL(None)["madvise"]
_advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class DamagedCheckpoint(Exception):
    """A chunk is missing, or isn't what its name says."""


class ChunkStore:
    """Takes chunks, and gives what they make together."""

    def __init__(self) -> None:
        self._chunks: dict[Digest, bytes] = {}
        self._rooms: dict[bytes, list[bytearray]] = {}  # by the joined names of what they will hold
        self._places: dict[Digest, list[memoryview]] = {}
        self._elsewhere: set[Digest] = set()  # in something small, too
        self._damage: dict[Digest, str] = {}

    def expect(self, runs: Iterable[Sequence[Digest]], sizes: Mapping[Digest, int]) -> None:
        """Make room for each large one of these runs of chunks, of which the sizes are known. Raises MemoryError."""
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

    def place(self, name: Digest, size: int) -> memoryview | None:
        """Give where a chunk can be received, None if it has to be `put`."""
        first = next(iter(self._places.get(name, ())), None)
        return first if first is not None and len(first) == size else None

    def put(self, name: Digest, data: bytes | memoryview) -> None:
        """Take a chunk; one that was received in its place stays there."""
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
        """Give the bytes of these chunks, checked; once, where there was room for them. Raises DamagedCheckpoint."""
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
        """Let go of the memory that was received into: it is its owners'."""
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
    """Give so much memory: not cleared, since all of it will be written, and in huge pages if there are any."""
    memory: bytearray = _new_bytearray(None, size)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    first, behind = -(-start // HUGE_PAGE) * HUGE_PAGE, (start + size) // HUGE_PAGE * HUGE_PAGE
    if first < behind:
        _advise(first, behind - first, mmap.MADV_HUGEPAGE)  # as NumPy does it for its own; a hint at most
    return memory
