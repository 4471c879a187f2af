"""The writing end of the cell socket: everything that belongs to a cell goes through here, in one order.

Text is collected and sent in batches. User code never sends: a KeyboardInterrupt in the middle of a send would cut a
frame in two. It appends, and waits (interruptibly) when too much is pending; the control thread sends. Only at the end
of a cell the main thread sends, outside of user code, what is left together with the Done frame: a short cell costs one
send and no hand-over between threads.
"""

import contextlib
from collections.abc import Callable
from threading import Lock, RLock, get_ident  # bound early: user code may patch threading
from typing import Final

from skep_shared.flushed_text import FlushedText
from skep_shared.frames import Frame, Truncated
from skep_shared.originals import os, socket
from skep_workers.session.capturing import Diversion
from skep_workers.session.clock import monotonic
from skep_workers.session.descriptors import replace
from skep_workers.session.native_threads import Condition, has_others
from skep_workers.session.outgoing import Text, encode
from skep_workers.session.shield import Shield
from skep_workers.session.spool import Spool, Write
from skep_workers.session.wakes import write_keeping_gil
from skep_workers.session.writer import NOBODY, Writer, current_writer

HIGH_WATER_CHARS: Final = 1024 * 1024
MAX_PARTIAL_LINE_CHARS: Final = 4 * 1024
DEFAULT_OUTPUT_LIMIT_BYTES: Final = 64 * 1024 * 1024
FLUSH_SECONDS: Final = 0.1
BURST_SECONDS: Final = 0.02
BURST_FLUSHES: Final = 20
SHORT_CHARS: Final = 1024  # what the short way takes without counting
COUNTED_CELLS: Final = 1000


_Open = tuple[Writer, list[str]]


class CellLink:
    """Collects output and sends frames; one per session process.

    Most text takes a short way: it goes to the stream's spool while its cell has the main thread for itself, else, see
    `short_way`, straight to the pieces that are collected now. Both are open only while nothing else has to be done for
    a write: the last thing collected is of this stream and this writer, the control thread has been woken and isn't
    stuck in a send, and there is no thread but the main one.
    """

    def __init__(self, sock: socket.socket, shield: Shield, flushed: FlushedText) -> None:
        self._socket = sock
        self._flushed = flushed
        self._frames_sent = 0
        self._shield = shield
        self._unsent = b""
        # A signal handler or a __del__ of the user's may print while its own thread is in here.
        self._lock = RLock()
        self._room = Condition(self._lock)
        self._sending = Lock()
        self._pending: list[Text | Frame] = []
        self._pending_chars = 0
        self._is_inside = False
        self._open_stdout: _Open | None = None
        self._open_stderr: _Open | None = None
        self._spools: dict[str, Spool] = {}
        self._spooling: tuple[Spool, Text] | None = None
        self._kept_of: Text | None = None
        self._burst_ends_at = 0.0
        self._burst_flushes = 0
        self._ending: tuple[Frame, ...] = ()
        self.diversion: Diversion | None = None
        self.is_alone = False  # no code but the running cell's can write on the main thread
        self._partial_lines: dict[str, str] = {}
        self._written: dict[Writer, int] = {}
        self.output_limit_bytes = DEFAULT_OUTPUT_LIMIT_BYTES
        self.wake_fd: Final = _new_waker()
        self.is_forked_copy = False
        self.running = NOBODY  # the cell that runs, or ran last
        self.sending_thread = 0  # the control thread, once it serves

    def begin_in_fork(self) -> None:
        """Have a wake-up descriptor of its own: the one that it was made with is the parent's too."""
        replace(self.wake_fd, _new_waker())

    def give_short_way(self, stream: str, set_write: Callable[[Write], None], long_way: Write) -> None:
        """Set the `write` of a stream, now and as it changes."""
        short_way = self._short_way(stream, long_way)
        set_write(short_way)
        self._spools[stream] = Spool(set_write, short_way)

    def _short_way(self, stream: str, long_way: Write) -> Write:
        """Make the `write` of a stream: as print() calls it twice a line, it has to cost next to nothing.

        Between looking whether the pieces are open and appending to them nothing is called, so no other thread and no
        finalizer can come in between: neither can then close them under this write.
        """
        writer_now = current_writer.get

        def write_stdout(text: str, /) -> int:
            if text.__class__ is str and (length := len(text)) < SHORT_CHARS:
                writer = writer_now()
                opened = self._open_stdout
                if opened is not None and opened[0] is writer:
                    opened[1].append(text)
                    return length
            return long_way(text)

        def write_stderr(text: str, /) -> int:
            if text.__class__ is str and (length := len(text)) < SHORT_CHARS:
                writer = writer_now()
                opened = self._open_stderr
                if opened is not None and opened[0] is writer:
                    opened[1].append(text)
                    return length
            return long_way(text)

        return write_stdout if stream == "stdout" else write_stderr

    def close_short_way(self) -> None:
        """Have the next write take the long way; waits for nothing."""
        self._open_stdout = self._open_stderr = None
        if (spooling := self._spooling) is not None:
            spooling[0].refuse()

    def _unspool(self) -> None:
        """Collect what went to a spool; the caller holds the lock."""
        with self._shield:  # what has been taken from the spool must get to the pieces
            if (spooling := self._spooling) is not None:
                self._spooling = None
                spool, into = spooling
                text = spool.stop()
                into.pieces.append(text)
                self._pending_chars += len(text)

    def write(self, stream: str, text: str, writer: Writer | None = None, *, wakes: bool = True) -> None:
        """Collect text; the control thread sends it soon, unless it is not woken.

        With a `writer` given the caller never waits; else it waits while more than HIGH_WATER_CHARS are pending.
        """
        if not text:
            return
        if self.is_forked_copy:
            self._write_through(stream, text)
            return
        owner = writer or current_writer.get()
        if owner is NOBODY:
            owner = self.running
        with self._lock:
            while writer is None and self.is_full and self._may_wait():
                self._room.wait()
            outer, self._is_inside = self._is_inside, True
            try:
                is_first = self._append(owner, stream, text)
            finally:
                self._is_inside = outer
        if not wakes:
            return
        if is_first and text[-1] != "\n":
            # print() writes its end apart: the line goes out whole if the control thread doesn't get the GIL before.
            write_keeping_gil(self.wake_fd)
        elif is_first:
            self.wake()

    @property
    def is_full(self) -> bool:
        """Tell whether so much is pending that writers should wait."""
        return self._pending_chars > HIGH_WATER_CHARS

    @property
    def writer(self) -> Writer:
        """Whose output the caller's is; nobody's, as of a finalizer on another thread, is the running cell's."""
        writer = current_writer.get()
        return writer if writer is not NOBODY else self.running

    def _may_wait(self) -> bool:
        """Tell whether another thread can make room: not for the one that sends, nor for who has cut into a write."""
        return not self._is_inside and get_ident() != self.sending_thread

    def divert(self, diversion: Diversion | None) -> None:
        """Have what comes from now on go there, as far as it takes it."""
        with self._lock:
            self.close_short_way()
            self._unspool()
            self.diversion = diversion

    def _append(self, owner: Writer, stream: str, text: str) -> bool:
        if self.diversion is not None and self.diversion.takes_text(owner, stream, text):
            return False
        if self._written.get(owner, 0) > self.output_limit_bytes:
            return False
        if self._spooling is not None:
            self._unspool()
        pending = self._pending
        last = pending[-1] if pending else None
        if type(last) is Text and last.writer == owner and last.stream == stream:
            last.pieces.append(text)
        else:
            self.close_short_way()
            pending.append(Text(owner, stream, text))
        self._pending_chars += len(text)
        if not self._sending.locked() and not has_others() and type(pending[-1]) is Text:
            opened = (pending[-1].writer, pending[-1].pieces)
            if self.is_alone and owner == self.running:
                self._spooling = (self._spools[stream], pending[-1])
                self._spools[stream].start()
            elif stream == "stdout":
                self._open_stdout = opened
            else:
                self._open_stderr = opened
        return last is None

    def _take(self) -> list[Text | Frame]:
        """Take what is pending; the caller holds the lock for sending, so that it goes out in this order."""
        with self._lock:
            self.close_short_way()
            self._unspool()
            pending, self._pending, self._pending_chars = self._pending, [], 0
            taken: list[Text | Frame] = []
            for item in pending:
                taken += self._within_limit(item) if type(item) is Text else [item]
            return taken

    def _within_limit(self, item: Text) -> list[Text | Frame]:
        """Give what of the text the cell may still put out, and say so, once, where it ends."""
        text = "".join(item.pieces)
        item.pieces = [text]
        owner, limit = item.writer, self.output_limit_bytes
        written = self._written.get(owner, 0)
        if written > limit:
            return []
        # Characters count for bytes until that could matter.
        size = len(text) if written + 4 * len(text) <= limit else len(text.encode("utf-8", "surrogatepass"))
        self._written[owner] = written + size
        if written + size <= limit:
            return [item]
        self._written[owner] = limit + 1
        kept = text.encode("utf-8", "surrogatepass")[: limit - written].decode("utf-8", "ignore")
        return [Text(owner, item.stream, kept), Truncated(owner.seq, owner.attempt, limit)]

    def put(self, frame: Frame) -> None:
        """Collect a frame in its place among the output; the control thread sends it soon."""
        with self._lock:
            self.close_short_way()
            self._unspool()
            self._pending.append(frame)
        self.wake()

    def wake(self) -> None:
        """Make the control thread look around."""
        os.eventfd_write(self.wake_fd, 1)

    def wake_if_pending(self) -> None:
        """Make the control thread send what nobody has sent."""
        if self._pending:
            self.wake()

    def flush(self, *, may_wait: bool = True) -> None:
        """Hand what was collected to the kernel, where it outlives this process; called by user code.

        What doesn't fit in the socket now is sent by the control thread: waiting here could not be interrupted. And of
        BURST_FLUSHES within BURST_SECONDS the further ones only make sure that the text outlives this process; it goes
        out with the rest of its batch.
        """
        if self.is_forked_copy:
            for stream in list(self._partial_lines):
                _write_all(stream, self._partial_lines.pop(stream))
            return
        if not self._pending or (self._is_bursting() and self._keep_spooled()):
            return
        with self._shield:
            if not self._sending.acquire(timeout=FLUSH_SECONDS if may_wait else 0):
                return  # somebody is at it, and the host doesn't read
            try:
                self._unsent += self._encode(self._take())
                with self._lock:
                    self._room.notify_all()
                with contextlib.suppress(BlockingIOError):
                    self._unsent = self._unsent[self._socket.send(self._unsent, socket.MSG_DONTWAIT) :]
            finally:
                self._sending.release()
        if self._unsent:
            self.wake()

    def _is_bursting(self) -> bool:
        now = monotonic()
        if now > self._burst_ends_at:
            self._burst_ends_at, self._burst_flushes = now + BURST_SECONDS, 0
        self._burst_flushes += 1
        return self._burst_flushes > BURST_FLUSHES

    def _keep_spooled(self) -> bool:
        """Put text that waits for the control thread where it outlives this process; False if it has to be sent."""
        with self._lock:
            if self._spooling is None or len(self._pending) != 1:
                return False
            spool, into = self._spooling
            parts = spool.flushed()
            if self._kept_of is not into:  # the first flush since it was opened: what came before goes along
                self._flushed.restart()
                self._kept_of = into
                parts.insert(0, "".join(into.pieces).encode("utf-8", "surrogatepass"))
            return self._flushed.add(parts, self._frames_sent, into.stream)

    def begin_end(self, *frames: Frame) -> None:
        """Have these frames, a cell's last ones, sent with the next `send`, which may be another thread's."""
        self._ending = frames

    def add_to_end(self, frame: Frame) -> None:
        """Say something before a cell's last frame, or right behind that where it has been sent already."""
        with self._sending:
            if self._ending:
                self._ending = (*self._ending[:-1], frame, self._ending[-1])
                return
        self.send(frame)

    def send_late_end(self) -> None:
        """Send the end of a cell whose snapshot takes long: what is asked of the cell from then on finds it ended."""
        if self._ending:
            self.send()

    def send_collected(self) -> None:
        """Send what was collected; not yet the end of a cell, which goes out with its snapshot."""
        self._send((), has_end=False)

    def send(self, *frames: Frame) -> None:
        """Send what was collected, and then the cell's end and these frames, in one piece."""
        self._send(frames, has_end=True)

    def _send(self, frames: tuple[Frame, ...], *, has_end: bool) -> None:
        with self._sending:
            ending: tuple[Frame, ...] = ()
            if has_end:
                ending, self._ending = self._ending, ending
            data = self._unsent + self._encode([*self._take(), *ending, *frames])
            self._unsent = b""
            if data:
                self._socket.sendall(data)
        with self._lock:
            self._room.notify_all()

    def _encode(self, pending: list[Text | Frame]) -> bytes:
        encoded = encode(pending)
        self._frames_sent += len(encoded)
        return b"".join(encoded)

    def end_cell(self) -> None:
        """Forget how much early cells have written; their tasks then start to count anew."""
        while len(self._written) > COUNTED_CELLS:
            del self._written[next(iter(self._written))]

    def _write_through(self, stream: str, text: str) -> None:
        """Write to the pipe, in whole lines: those of several children must not mix."""
        lines, newline, rest = (self._partial_lines.pop(stream, "") + text).rpartition("\n")
        if len(rest) > MAX_PARTIAL_LINE_CHARS:
            lines, newline, rest = lines + newline, rest, ""
        if rest:
            self._partial_lines[stream] = rest
        _write_all(stream, lines + newline)

    def become_forked_copy(self) -> None:
        """Make this copy, in a child that user code forked, write to the inherited pipes and send nothing."""
        self._lock = RLock()
        self._room = Condition(self._lock)
        self._sending = Lock()
        self.close_short_way()
        self._unspool()
        self.is_alone = False
        self._pending, self._pending_chars = [], 0
        self.is_forked_copy = True
        self._socket.close()


def _write_all(stream: str, text: str) -> None:
    data = text.encode("utf-8", "backslashreplace")
    while data:
        data = data[os.write(2 if stream == "stderr" else 1, data) :]


def _new_waker() -> int:
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
