"""stdout and stderr of a session: Python's streams and the file descriptors below them, in one order.

Python code writes to `CellStream`, which knows whose output it is. C code and child processes write to descriptors 1
and 2, which are pipes. When something comes on an empty pipe the kernel sends the main thread a signal, whose handler
reads it as soon as the call that wrote it has returned: what was written before it stands before it, what is written
after it after, and a print costs no look at the pipes. What comes while the main thread is in a long call of C code is
read by the control thread. Other threads look at the pipes before each write. Two writes to different descriptors,
neither from Python's streams and both before anyone looked, can't be told apart in time: descriptor 1 is then taken
first.
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
from skep_workers.session.link import CellLink
from skep_workers.session.shield import Shield
from skep_workers.session.writer import Writer

READ_BYTES: Final = 64 * 1024
STREAMS: Final = ("stdout", "stderr")
OUTPUT_SIGNAL: Final = signal.SIGRTMIN + 7
_F_SETOWN_EX: Final = 15  # fcntl(2); the module has no name for these
_F_OWNER_TID: Final = 0


class _Peek(local):
    """A poll object of each thread's own, since one can't be asked by two threads at a time."""

    def __init__(self, fds: Iterable[int]) -> None:
        self.poll = select.poll()
        for fd in fds:
            self.poll.register(fd, select.POLLIN)


class PipeReader:
    """Reads what was written to descriptors 1 and 2 and hands it to the link as the running cell's output."""

    def __init__(self, link: CellLink, shield: Shield, stdout_fd: int, stderr_fd: int) -> None:
        self._link = link
        self._shield = shield  # between reading and handing over, an interrupt would lose what was read
        self._lock = Lock()
        self.streams: Final = {stdout_fd: "stdout", stderr_fd: "stderr"}
        self._decoders = {}
        for fd in self.streams:
            os.set_blocking(fd, False)
            self._decoders[fd] = codecs.getincrementaldecoder("utf-8")("replace")
        self._peek = _Peek(list(self.streams))
        self._ended: set[int] = set()
        self._reading_thread = 0
        self.must_look = False  # before the main thread writes

    def drain(self) -> None:
        """Take what is in the pipes now; several threads may call this."""
        # An empty pipe is not enough: what another thread has read and not handed over yet comes first too.
        try:
            if not self._peek.poll.poll(0) and not self._reading_thread:
                return
        except RuntimeError:
            return  # a signal handler of the user's prints, and has cut into this very look
        if self._reading_thread == get_ident():
            return  # it, or a __del__, has cut into the reading below, which goes on
        with self._shield, self._lock:
            self._read_as_one()

    def _read_as_one(self, *, wakes: bool = True) -> None:
        self._reading_thread = get_ident()
        try:
            self._read_all(wakes=wakes)
        finally:
            self._reading_thread = 0

    def watch(self) -> None:
        """Be told of what comes by a signal to the main thread, which calls this."""
        signal.signal(OUTPUT_SIGNAL, self._on_output)
        signal.siginterrupt(OUTPUT_SIGNAL, False)
        for fd in self.streams:
            fcntl(fd, F_SETSIG, OUTPUT_SIGNAL)
            fcntl(fd, _F_SETOWN_EX, pack("ii", _F_OWNER_TID, get_native_id()))
            fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | os.O_ASYNC)

    def _on_output(self, _number: int, _frame: FrameType | None) -> None:
        # It may have cut into anything, and waits for nothing: whoever holds a lock here may be waiting for one that
        # this thread holds below. What another thread has read and not handed over yet, the next write waits for; and
        # while too much is pending, what comes stays in the pipe, and its writer waits.
        with self._shield:
            if self._link.is_full or not self._lock.acquire(blocking=False):
                self.must_look = True
                self._link.close_short_way()
                return
            try:
                self._read_as_one(wakes=False)
            except RuntimeError:
                return  # cut into a look at the pipes, which goes on
            finally:
                self._lock.release()
            # In the pipe it would have outlived this process. The control thread is woken only for what is left then:
            # what it has taken and is about to send goes with the process, too.
            self._link.flush(may_wait=False)
            self._link.wake_if_pending()

    def _read_all(self, *, wakes: bool) -> None:
        for _ in range(64):  # a bound for a writer that never stops; the next look goes on
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
        else:  # every writing end has been closed; there is nothing to wait for any more
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

    def __init__(self, name: str, fd: int, link: CellLink, reader: PipeReader) -> None:
        self.name = f"<{name}>"
        self.mode = "w"
        self._stream = name
        self._fd = fd
        self._link = link
        self._reader = reader
        self._main_thread = get_ident()
        self.buffer = CellBuffer(self)
        link.give_short_way(name, partial(setattr, self, "write"), self._write)

    def write(self, text: str, /) -> int:
        """Collect the text as output of the cell it comes from; each stream has a faster one of its own."""
        return self._write(text)

    def _write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        reader = self._reader
        if reader.must_look or get_ident() != self._main_thread:
            reader.must_look = False
            reader.drain()
        self._link.write(self._stream, text)
        return len(text)

    def writelines(self, lines: Iterable[str], /) -> None:  # type: ignore[override]
        """Collect all the lines."""
        self.write("".join(lines))

    def writable(self) -> bool:
        """It is writable."""
        return True

    def fileno(self) -> int:
        """Give the descriptor of the pipe."""
        return self._fd

    def flush(self) -> None:
        """Hand what was written on, so that it is not lost with the process."""
        self._link.flush()

    def isatty(self) -> bool:
        """It is no terminal."""
        return False

    def close(self) -> None:
        """Stay open: a cell that closes its stdout would silence the later ones."""

    def reconfigure(self, **_options: Any) -> None:
        """Accept what scripts set on a real stream; encoding and buffering are the session's business."""


class CellBuffer(io.RawIOBase):
    """The `buffer` of a CellStream: bytes are decoded as UTF-8, cut wherever."""

    def __init__(self, stream: CellStream) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.name = stream.name

    def write(self, data: Any, /) -> int:
        """Collect the bytes as text."""
        view = memoryview(data)
        self._stream.write(self._decoder.decode(view.tobytes()))
        return view.nbytes

    def writable(self) -> bool:
        """It is writable."""
        return True

    def fileno(self) -> int:
        """Give the descriptor of the pipe."""
        return self._stream.fileno()

    def close(self) -> None:
        """Stay open, as the stream does."""


def install_streams(streams: Iterable[CellStream]) -> None:
    """Make these the process's stdout and stderr."""
    for name, stream in zip(STREAMS, streams, strict=True):
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
