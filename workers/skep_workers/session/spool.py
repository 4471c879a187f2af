"""Text on its way from print() to the link by nothing but C code, for as long as only one can be its writer.

`print` calls `write` twice a line, so what `write` costs is what output costs. A function of Python's that only looks
whose text it is and appends it takes longer than writing to a file does. So while one cell has the main thread for
itself, the stream's `write` is that of a TextIOWrapper, whose chunks go to a deque by its own `append`. The wrapper
gives a chunk up and the deque takes it within one bytecode: no other thread, signal handler or finalizer can come in
between.
"""

import io
from collections import deque
from collections.abc import Callable
from typing import Any, Final

CHUNK_CHARS: Final = 64 * 1024


Write = Callable[[str], int]


class Spool:
    """The short way of one stream, for whoever holds the link's lock; the rest is what a wrapper asks of its buffer."""

    closed = False  # the wrapper asks this at each write

    def __init__(self, set_write: Callable[[Write], None], slow_write: Write) -> None:
        """`slow_write`: what the stream's `write` is while this is stopped, given to `set_write`."""
        self._set_write = set_write
        self._slow_write = slow_write
        self._chunks: deque[bytes] = deque()
        self._kept = 0  # of these
        self.write: Callable[[bytes], object] = self._write_late
        self._text = self._make_text()

    def start(self) -> None:
        """Have the stream's writes come here."""
        self.write = self._chunks.append
        self._kept = 0
        self._text.reconfigure(write_through=False)
        self._set_write(self._text.write)

    def refuse(self) -> None:
        """Have the stream's next write go the slow way; what was written is still to be taken."""
        self._set_write(self._slow_write)

    def flushed(self) -> list[bytes]:
        """Give what was written since the start, or since this was asked before."""
        self._text.flush()
        before, self._kept = self._kept, len(self._chunks)
        return [self._chunks[place] for place in range(before, self._kept)]

    def stop(self) -> str:
        """Have the stream's writes go the slow way, and give what was written since the start."""
        self._set_write(self._slow_write)
        # In this order: whatever is written until all is done ends among the chunks.
        try:
            self._text.reconfigure(write_through=True)
        except ValueError:
            self._text = self._make_text()  # user code got hold of it, and has detached it
        self.write = self._write_late
        taken = []
        while self._chunks:
            taken.append(self._chunks.popleft())
        return b"".join(taken).decode("utf-8", "surrogatepass")

    def readable(self) -> bool:
        """Nothing is read here."""
        return False

    def writable(self) -> bool:
        """It is there to be written to."""
        return True

    def seekable(self) -> bool:
        """What was written has been."""
        return False

    def flush(self) -> None:
        """Do nothing: the wrapper asks when it has given up its chunk."""

    def close(self) -> None:
        """Stay open, as the stream does."""

    def _write_late(self, data: bytes) -> None:
        # From a print() that had looked `write` up before the stop, or who keeps it under a name of his own.
        self._slow_write(data.decode("utf-8", "surrogatepass"))

    def _make_text(self) -> "io.TextIOWrapper[Any]":
        text = io.TextIOWrapper(  # type: ignore[type-var]  # this has all that a wrapper asks for writing
            self,
            encoding="utf-8",
            errors="surrogatepass",
            newline="",
            write_through=True,
        )
        text._CHUNK_SIZE = CHUNK_CHARS  # type: ignore[attr-defined]  # noqa: SLF001 - it has no other way to be set
        return text
