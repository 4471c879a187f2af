"""Memory of other libraries, for a pickler: used in place, or copied if it is small."""

import ctypes
from pickle import PickleBuffer
from typing import Any, Final

SMALL_BYTES: Final = 16 * 1024  # copied into the stream: a chunk of its own costs more


def buffer_at(address: int, size: int, owner: Any) -> Any:
    """Return the memory at an address: as bytes, or as a PickleBuffer that keeps its owner alive."""
    if size < SMALL_BYTES:
        return ctypes.string_at(address, size)
    memory = (ctypes.c_char * size).from_address(address)
    memory.owner = owner  # type: ignore[attr-defined]
    return PickleBuffer(memory)
