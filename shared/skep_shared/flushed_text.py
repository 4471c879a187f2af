"""What a session process has flushed and not sent yet, in memory that it shares with its worker.

Flushed output has to outlive the process. Sending it line by line would do, at twenty times the price of a write to a
file; here it is copied to where the worker finds it should the process end before its next batch. A number tells
whether that is so: how many frames had been sent before the text. The worker has as many only if the text never came.
"""

import mmap
from collections.abc import Iterable
from struct import Struct
from typing import Final

from skep_shared.json_form import without_surrogates

FLUSHED_OFFSET: Final = mmap.PAGESIZE  # the page before is the interrupts'
FLUSHED_BYTES: Final = 64 * 1024
STREAMS: Final = ("stdout", "stderr")
_HEAD: Final = Struct("=QII")  # frames sent before, index of the stream, bytes of UTF-8
CAPACITY_BYTES: Final = FLUSHED_BYTES - _HEAD.size


class FlushedText:
    """One shared stretch of memory: the session process writes, the worker reads once that has ended."""

    def __init__(self, fd: int) -> None:
        """Map it from the descriptor of the interrupt page."""
        self._memory = mmap.mmap(fd, FLUSHED_BYTES, offset=FLUSHED_OFFSET)
        self._used = 0

    def restart(self) -> None:
        """Begin with the next text anew: what is there has been sent, or is about to be."""
        self._used = 0

    def add(self, parts: Iterable[bytes], frames_sent: int, stream: str) -> bool:
        """Add to what was flushed; False, and it is as before, if there is no room."""
        start = place = _HEAD.size + self._used
        for part in parts:
            end = place + len(part)
            if end > FLUSHED_BYTES:
                return False
            self._memory[place:end] = part
            place = end
        self._used += place - start
        _HEAD.pack_into(self._memory, 0, frames_sent, STREAMS.index(stream), self._used)  # last: the text is there
        return True

    def read(self, frames_received: int) -> tuple[str, str] | None:
        """Give stream and text that were flushed behind so many frames, if any."""
        frames_sent, stream, size = _HEAD.unpack_from(self._memory, 0)
        # The process may have written anything here.
        if frames_sent != frames_received or stream >= len(STREAMS) or not 0 < size <= CAPACITY_BYTES:
            return None
        data = self._memory[_HEAD.size : _HEAD.size + size]
        try:
            text = without_surrogates(data.decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            text = data.decode("utf-8", "replace")
        return STREAMS[stream], text

    def close(self) -> None:
        """Unmap it."""
        self._memory.close()
