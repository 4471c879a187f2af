"""Output that a session process has flushed but not yet sent, in memory that it shares with its worker.

Flushed output must survive the end of the process. Sending it line by line would ensure that, but costs twenty times as
much as a write to a file. Instead it is copied to shared memory, where the worker finds it if the process ends before
it sends its next batch. The memory also holds the number of frames that had been sent before the text. If the worker
has received exactly that many frames, the text was never sent.
"""

import mmap
from collections.abc import Iterable
from struct import Struct
from typing import Final

from skep_shared.json_form import without_surrogates

FLUSHED_OFFSET: Final = mmap.PAGESIZE  # after the interrupt page
FLUSHED_BYTES: Final = 64 * 1024
STREAMS: Final = ("stdout", "stderr")
_HEAD: Final = Struct("=QII")  # frames sent before, index of the stream, bytes of UTF-8
CAPACITY_BYTES: Final = FLUSHED_BYTES - _HEAD.size


class FlushedText:
    """A shared memory region: the session process writes to it, and the worker reads it when the process has ended."""

    def __init__(self, fd: int) -> None:
        """Map the region from the descriptor of the interrupt page."""
        self._memory = mmap.mmap(fd, FLUSHED_BYTES, offset=FLUSHED_OFFSET)
        self._used = 0

    def restart(self) -> None:
        """Begin a new text in place of the stored one, which has been sent or is about to be sent."""
        self._used = 0

    def add(self, parts: Iterable[bytes], frames_sent: int, stream: str) -> bool:
        """Append to the flushed text; if there is no room, change nothing and return False."""
        start = place = _HEAD.size + self._used
        for part in parts:
            end = place + len(part)
            if end > FLUSHED_BYTES:
                return False
            self._memory[place:end] = part
            place = end
        self._used += place - start
        # The head is written last, when the text is complete.
        _HEAD.pack_into(self._memory, 0, frames_sent, STREAMS.index(stream), self._used)
        return True

    def read(self, frames_received: int) -> tuple[str, str] | None:
        """Return the stream and the text that were flushed after this number of frames, or None."""
        frames_sent, stream, size = _HEAD.unpack_from(self._memory, 0)
        # The contents are not trusted, because the process may have written anything.
        if frames_sent != frames_received or stream >= len(STREAMS) or not 0 < size <= CAPACITY_BYTES:
            return None
        data = self._memory[_HEAD.size : _HEAD.size + size]
        try:
            text = without_surrogates(data.decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            text = data.decode("utf-8", "replace")
        return STREAMS[stream], text

    def close(self) -> None:
        """Unmap the memory."""
        self._memory.close()
