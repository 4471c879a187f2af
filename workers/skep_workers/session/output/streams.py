"""stdout and stderr of a session: Python's streams and the file descriptors below them, in one order.

Python code writes to `CellStream`, which attributes the text to a cell. C code and child processes write to descriptors
1 and 2, which are pipes. When an empty pipe receives data, the kernel sends the main thread a signal. The handler reads
the pipe as soon as the call that wrote to it has returned, so the data is collected after earlier prints and before
later ones, and a print need not poll the pipes. While the main thread is in a long call of C code, the control thread
reads the pipes. Other threads poll the pipes before each write.

Things that don't work:
- Polling the pipes before each print: 100,000 lines took 16 to 32 times as long as writing them to a file.
- Ordering two writes to different descriptors when neither is from Python's streams and both come before a read: the
  kernel doesn't record which was first. Descriptor 1 is read first.
- Waiting for a lock in the signal's handler: its holder may be waiting for a lock that the interrupted code holds.
"""

import codecs
import io
import sys
from collections.abc import Iterable
from fcntl import F_GETFL, F_SETFL, F_SETSIG, fcntl
from functools import partial
from struct import pack
from threading import Lock, get_ident, get_native_id, local  # bound early: user code may patch threading
from types import FrameType
from typing import Any, Final

from skep_shared.originals import os, select, signal
from skep_workers.session.attribution.writer import Writer
from skep_workers.session.output.link import CellLink
from skep_workers.session.safeguards.shield import Shield

READ_BYTES: Final = 64 * 1024
STREAMS: Final = ("stdout", "stderr")
OUTPUT_SIGNAL: Final = signal.SIGRTMIN + 7
_F_SETOWN_EX: Final = 15  # fcntl(2); the module has no name for these
_F_OWNER_TID: Final = 0


class _Peek(local):
    """A poll object per thread: one object can't be used by two threads at a time."""

    def __init__(self, fds: Iterable[int]) -> None:
        self.poll = select.poll()
        for fd in fds:
            self.poll.register(fd, select.POLLIN)


class PipeReader:
    """Reads what was written to descriptors 1 and 2, and passes it to the link as the running cell's output."""

    def __init__(self, link: CellLink, shield: Shield, stdout_fd: int, stderr_fd: int) -> None:
        self._link = link
        self._shield = shield  # an interrupt between reading data and passing it on would lose the data
        self._lock = Lock()
        self.streams: Final = {stdout_fd: "stdout", stderr_fd: "stderr"}
        self._decoders = {}
        for fd in self.streams:
            os.set_blocking(fd, False)
            self._decoders[fd] = codecs.getincrementaldecoder("utf-8")("replace")
        self._peek = _Peek(list(self.streams))
        self._ended: set[int] = set()
        self._reading_thread = 0
        self.must_drain = False  # before the main thread writes

    def drain(self) -> None:
        """Read what is in the pipes now; several threads may call this."""
        # Empty pipes are not enough: data that another thread has read must be passed on first too.
        try:
            if not self._peek.poll.poll(0) and not self._reading_thread:
                return
        except RuntimeError:
            return  # a signal handler of user code prints, and has interrupted this thread's poll
        if self._reading_thread == get_ident():
            return  # a handler or a __del__ has interrupted the read below, which continues after it
        with self._shield, self._lock:
            self._read_without_nesting()

    def _read_without_nesting(self, *, wakes: bool = True) -> None:
        self._reading_thread = get_ident()
        try:
            self._read_all(wakes=wakes)
        finally:
            self._reading_thread = 0

    def watch(self) -> None:
        """Request a signal to the calling thread, which is the main one, when an empty pipe receives data."""
        signal.signal(OUTPUT_SIGNAL, self._on_output)
        signal.siginterrupt(OUTPUT_SIGNAL, False)
        for fd in self.streams:
            fcntl(fd, F_SETSIG, OUTPUT_SIGNAL)
            fcntl(fd, _F_SETOWN_EX, pack("ii", _F_OWNER_TID, get_native_id()))
            fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | os.O_ASYNC)

    def _on_output(self, _number: int, _frame: FrameType | None) -> None:
        # This may have interrupted any code, so it waits for nothing: the holder of a lock may be waiting for a lock
        # that the interrupted code holds. The next write waits for data that another thread has read and not passed on
        # yet. While too much is pending, new data remains in the pipe, and its writer waits.
        with self._shield:
            if self._link.is_full or not self._lock.acquire(blocking=False):
                self.must_drain = True
                self._link.close_fast_path()
                return
            try:
                self._read_without_nesting(wakes=False)
            except RuntimeError:
                return  # this has interrupted a poll, which continues after it
            finally:
                self._lock.release()
            # In the pipe the data would have outlived this process, so it is flushed here. The control thread is woken
            # only for the rest: data that it has removed and not sent yet is lost if the process ends.
            self._link.flush(may_wait=False)
            self._link.wake_if_pending()

    def _read_all(self, *, wakes: bool) -> None:
        for _ in range(64):  # a bound in case a writer never stops; the next call reads the rest
            ready = sorted(fd for fd, _ in self._peek.poll.poll(0))
            if not ready:
                return
            for fd in ready:
                self._read(fd, self._link.running, wakes=wakes)
                if fd in self._ended:
                    self._peek.poll.unregister(fd)

    def _read(self, fd: int, writer: Writer, *, wakes: bool) -> None:
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._link.write(self.streams[fd], self._decoders[fd].decode(data), writer, wakes=wakes)
        else:  # every writing end has been closed, so no more data will arrive
            self._ended.add(fd)

    def become_forked_copy(self) -> None:
        """Leave the pipes to the parent, in a child that user code forked."""
        self._lock = Lock()
        self._reading_thread = 0
        self._peek = _Peek([])


class CellStream(io.TextIOBase):
    """sys.stdout or sys.stderr of a session; `fileno()` is the pipe, so that it can be given to child processes."""

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    line_buffering = False
    write_through = False

    def __init__(self, name: str, fd: int, link: CellLink, reader: PipeReader) -> None:
        self.name = f"<{name}>"
        self.mode = "w"
        self._stream = name
        self._fd = fd
        self._link = link
        self._reader = reader
        self._main_thread = get_ident()
        self.buffer = CellBuffer(self)
        link.install_write(name, partial(setattr, self, "write"), self._write)

    def write(self, text: str, /) -> int:
        """Collect the text as output of the cell that writes it. A faster function replaces this in each instance."""
        return self._write(text)

    def _write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        reader = self._reader
        if reader.must_drain or get_ident() != self._main_thread:
            reader.must_drain = False
            reader.drain()
        self._link.write(self._stream, text)
        return len(text)

    def writelines(self, lines: Iterable[str], /) -> None:  # type: ignore[override]
        """Collect all the lines."""
        self.write("".join(lines))

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of the pipe."""
        return self._fd

    def flush(self) -> None:
        """Put what was written where it outlives the process."""
        self._link.flush()

    def isatty(self) -> bool:
        """Return False: there is no terminal."""
        return False

    def close(self) -> None:
        """Do nothing: a cell that closed its stdout would silence later cells."""

    def detach(self) -> "CellBuffer":  # type: ignore[override]  # typeshed's is one that buffers
        """Return the stream of bytes, for scripts that wrap it again. This stream remains usable."""
        return self.buffer

    def reconfigure(
        self, *, line_buffering: bool | None = None, write_through: bool | None = None, **_options: Any
    ) -> None:
        """Accept the options of a real stream; encoding and buffering are fixed in a session."""
        if line_buffering is not None:
            self.line_buffering = bool(line_buffering)
        if write_through is not None:
            self.write_through = bool(write_through)


class CellBuffer(io.RawIOBase):
    """The `buffer` of a CellStream. It decodes bytes as UTF-8; a write may end inside a character."""

    @staticmethod
    def on_wrapped() -> None:
        """Note that a buffer is about to be wrapped. ReplacedStreams replaces this."""

    def __init__(self, stream: CellStream) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.name = stream.name
        self.mode = "wb"

    @property
    def raw(self) -> "CellBuffer":
        """Return this object, which buffers nothing."""
        return self

    def detach(self) -> "CellBuffer":
        """Return this object, as the stream's `detach` does."""
        return self

    def flush(self) -> None:
        """Put what was written where it outlives the process."""
        self._stream.flush()

    def write(self, data: Any, /) -> int:
        """Collect the bytes as text."""
        view = memoryview(data)
        self._stream.write(self._decoder.decode(view.tobytes()))
        return view.nbytes

    def writable(self) -> bool:
        """Return True. A wrapper calls this first, so the call is noted."""
        self.on_wrapped()
        return True

    def fileno(self) -> int:
        """Return the descriptor of the pipe."""
        return self._stream.fileno()

    def close(self) -> None:
        """Do nothing: the buffer stays open, as the stream does."""


def install_streams(streams: Iterable[CellStream]) -> None:
    """Make these the process's stdout and stderr."""
    for name, stream in zip(STREAMS, streams, strict=True):
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
