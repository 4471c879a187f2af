"""The `write` methods of sys.stdout and sys.stderr that cost next to nothing.

`print` calls `write` twice a line, so the cost of `write` is the cost of output. While one cell has the main thread to
itself its text goes to a spool, by C code alone (see spool.py). Otherwise a short Python function appends it to the
item that was collected last. Both are possible only while a write needs no other work: the last item is of this stream
and this writer, the control thread has been woken and is not stuck in a send, and no other thread of user code lives.
When one of these ends, the path is closed, and the next write takes the slow path: `CellLink.write`.

Things that don't work, measured with 100,000 printed lines:
- Locking, attributing and looking at the pipes in each write took 16 to 32 times as long as writing to a file.
- The Python functions below took 1.1 to 2.4 times as long as a file. They remain for tasks; a spool takes about 1.
- Testing and appending with a function call in between: a signal handler, a finalizer or another thread may run in that
  call and close the path, and the text would be appended to an item that has been sent.
"""

from collections.abc import Callable
from typing import Any, Final

from skep_workers.session.attribution.writer import Writer, current_writer
from skep_workers.session.output.frame_batch import FrameBatch, Text
from skep_workers.session.output.spool import Spool, Write

SHORT_CHARS: Final = 1024  # longer text takes the slow path, which counts it


class FastPath:
    """Opens and closes the fast path of both streams. Hold the link's lock, except for `close`."""

    __slots__ = ("_batch", "_open_stderr", "_open_stdout", "_spools", "spooling")

    def __init__(self, batch: FrameBatch) -> None:
        self._batch = batch
        self._open_stdout: tuple[Writer, list[str]] | None = None
        self._open_stderr: tuple[Writer, list[str]] | None = None
        self._spools: dict[str, Spool] = {}
        self.spooling: tuple[Spool, Text] | None = None  # the spool in use, and the item that its text belongs to

    def install(self, stream: str, set_write: Callable[[Write], None], slow_write: Write) -> None:
        """Set the `write` of a stream with `set_write`: now, and whenever its spool starts or stops."""
        write = self._make_write(stream, slow_write)
        set_write(write)
        self._spools[stream] = Spool(set_write, write)

    def _make_write(self, stream: str, slow_write: Write) -> Write:
        """Make the `write` of a stream for as long as its spool isn't in use.

        Between the test whether the path is open and the append nothing is called. So no other thread and no finalizer
        can run in between and close the path.
        """
        writer_now = current_writer.get

        def write_stdout(text: str, /) -> int:
            if text.__class__ is str and (length := len(text)) < SHORT_CHARS:
                writer = writer_now()
                opened = self._open_stdout
                if opened is not None and opened[0] is writer:
                    opened[1].append(text)
                    return length
            return slow_write(text)

        def write_stderr(text: str, /) -> int:
            if text.__class__ is str and (length := len(text)) < SHORT_CHARS:
                writer = writer_now()
                opened = self._open_stderr
                if opened is not None and opened[0] is writer:
                    opened[1].append(text)
                    return length
            return slow_write(text)

        return write_stdout if stream == "stdout" else write_stderr

    def open(self, sole_writer: Writer | None) -> None:
        """Open the path to the item that was collected last: with a spool if it is text of `sole_writer`.

        From reading `items` to opening nothing is called. A signal handler that printed or flushed in between would
        leave the path open to an item that isn't the last one, or has been sent.
        """
        items = self._batch.items
        if not items or items[-1].__class__ is not Text:
            return
        last: Any = items[-1]
        if last.writer == sole_writer:
            self.spooling = (self._spools[last.stream], last)
            self._spools[last.stream].start()
        elif last.stream == "stdout":
            self._open_stdout = (last.writer, last.pieces)
        else:
            self._open_stderr = (last.writer, last.pieces)

    def close(self) -> None:
        """Make the next write take the slow path. This waits for nothing, and any thread may call it."""
        self._open_stdout = self._open_stderr = None
        if (spooling := self.spooling) is not None:
            spooling[0].disconnect()

    def collect_spooled(self) -> None:
        """Stop the spool in use, and append its text to its item. No exception may cut this short."""
        if (spooling := self.spooling) is not None:
            self.spooling = None
            spool, item = spooling
            text = spool.stop()
            item.pieces.append(text)
            self._batch.chars += len(text)
