"""What may be pickled in the session's main thread, while the session waits for it."""

import io
import pickle
from collections.abc import Callable
from typing import Any, Final

IN_PLACE_BYTES: Final = 256 * 1024
IN_PLACE_SECONDS: Final = 0.005  # of processor time; a child is worth its fork for what takes longer
IN_PLACE_BUFFER_BYTES: Final = 1024 * 1024  # more than of a stream: buffers are only hashed


class TooLarge(Exception):
    """More than may be pickled while the session waits; `in_buffers`: the buffers alone were too much."""

    def __init__(self, *, in_buffers: bool = False) -> None:
        super().__init__()
        self.in_buffers = in_buffers


class BoundedFile(io.BytesIO):
    """A file that raises TooLarge beyond IN_PLACE_BYTES."""

    def write(self, data: Any) -> int:  # noqa: D102 - as in the base class
        if self.tell() + len(data) > IN_PLACE_BYTES:
            raise TooLarge
        return super().write(data)


class BoundedBuffers:
    """Collects the buffers of a stream; raises TooLarge beyond IN_PLACE_BUFFER_BYTES.

    count_new: returns how many bytes of a buffer have to be hashed.
    """

    def __init__(self, buffers: list[pickle.PickleBuffer], count_new: Callable[[memoryview], int]) -> None:
        self._buffers = buffers
        self._count_new = count_new
        self._bytes = 0

    def add(self, buffer: pickle.PickleBuffer) -> None:
        """Add a buffer; to be used as a pickler's `buffer_callback`."""
        self._bytes += self._count_new(buffer.raw())
        if self._bytes > IN_PLACE_BUFFER_BYTES:
            raise TooLarge(in_buffers=True)
        self._buffers.append(buffer)
