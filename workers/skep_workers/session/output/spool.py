"""Text on its way from print() to the link by C code alone, while only one cell can write.

`print` calls `write` twice a line, so the cost of `write` is the cost of output. A Python function that only checks
whose text it is and appends it takes longer than a write to a file. So while one cell has the main thread to itself,
the stream's `write` is that of a TextIOWrapper, whose chunks go to a deque by the deque's own `append`. The wrapper
passes a chunk to the deque within one bytecode: no other thread, signal handler or finalizer can run in between.
"""

import io
from collections import deque
from collections.abc import Callable
from typing import Any, Final

CHUNK_CHARS: Final = 64 * 1024


Write = Callable[[str], int]


class Spool:
    """The spool of one stream. Hold the link's lock to use it; the methods from `readable` on are for the wrapper."""

    closed = False  # the wrapper reads this at each write

    def __init__(self, set_write: Callable[[Write], None], slow_write: Write) -> None:
        """`set_write` sets the stream's `write`: to `slow_write` while the spool is stopped."""
        self._set_write = set_write
        self._slow_write = slow_write
        self._chunks: deque[bytes] = deque()
        self._returned = 0  # of the chunks, by `new_chunks`
        self.write: Callable[[bytes], object] = self._write_late
        self._text = self._make_text()

    def start(self) -> None:
        """Direct the stream's writes to the spool."""
        self.write = self._chunks.append
        self._returned = 0
        self._text.reconfigure(write_through=False)
        self._set_write(self._text.write)

    def disconnect(self) -> None:
        """Direct the stream's writes to the slow path; text in the spool remains until `stop`."""
        self._set_write(self._slow_write)

    def new_chunks(self) -> list[bytes]:
        """Return what was written since the start, or since the last call of this method."""
        self._text.flush()
        before, self._returned = self._returned, len(self._chunks)
        return [self._chunks[index] for index in range(before, self._returned)]

    def stop(self) -> str:
        """Direct the stream's writes to the slow path, and return what was written since the start."""
        self._set_write(self._slow_write)
        # In this order: text that is written until this method ends goes to the chunks, or takes the slow path.
        try:
            self._text.reconfigure(write_through=True)
        except ValueError:
            self._text = self._make_text()  # user code has found the wrapper and detached it
        self.write = self._write_late
        chunks = []
        while self._chunks:
            chunks.append(self._chunks.popleft())
        return b"".join(chunks).decode("utf-8", "surrogatepass")

    def readable(self) -> bool:
        """Return False: a spool can't be read."""
        return False

    def writable(self) -> bool:
        """Return True: a spool is written to."""
        return True

    def seekable(self) -> bool:
        """Return False: a spool has no positions."""
        return False

    def flush(self) -> None:
        """Do nothing: the wrapper calls this after it has passed its chunk on."""

    def close(self) -> None:
        """Do nothing: the spool stays open, as the stream does."""

    def _write_late(self, data: bytes) -> None:
        # From a print() that looked `write` up before the stop, or from code that has kept a reference to it.
        self._slow_write(data.decode("utf-8", "surrogatepass"))

    def _make_text(self) -> "io.TextIOWrapper[Any]":
        text = io.TextIOWrapper(  # type: ignore[type-var]  # a spool has all that a wrapper needs for writing
            self,
            encoding="utf-8",
            errors="surrogatepass",
            newline="",
            write_through=True,
        )
        text._CHUNK_SIZE = CHUNK_CHARS  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other way to set it
        return text
