"""Memory of other libraries, for a pickler: as it lies, or copied where there is little of it."""

import ctypes
from pickle import PickleBuffer
from typing import Any, Final

SMALL_BYTES: Final = 16 * 1024  # copied into the stream: a chunk of its own costs more


def buffer_at(address: int, size: int, owner: Any) -> Any:
    """Return so many bytes from an address on: bytes, or a PickleBuffer that keeps the owner of the memory."""
    if size < SMALL_BYTES:
        return ctypes.string_at(address, size)
    memory = (ctypes.c_char * size).from_address(address)
    memory.owner = owner  # type: ignore[attr-defined]
    return PickleBuffer(memory)
