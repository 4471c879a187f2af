"""The session process's end of the cell socket: everything that belongs to a cell is collected here, in one order.

Text is collected and sent in batches. User code never sends while it runs: it appends, and waits (interruptibly) while
too much is pending, and the control thread sends. Only at the end of a cell the main thread sends, outside of user
code: the rest of the output and the Done frame together, so a short cell costs one send and no switch of threads.

Things that don't work:
- Sending from user code: a KeyboardInterrupt in the middle of a send would cut a frame in two. So `flush` sends only
  what the socket accepts at once, in the shield.
- Waking the control thread by os.eventfd_write at the beginning of a line: it releases the GIL, and 234 of 300 short
  cells sent their line and its newline as two events. The write in wakeup.py keeps the GIL: none of 300 did.
- Sending at each flush: a loop that flushes each line paid for a send per line. See flush_burst.py for what is done.
"""

from collections.abc import Callable
from math import inf
from threading import RLock, get_ident  # bound early: user code may patch threading
from typing import Final

from skep_shared.originals import os, socket
from skep_shared.protocol.flushed_text import FlushedText
from skep_shared.protocol.frames import Frame
from skep_workers.session.attribution.writer import NO_CELL, Writer, current_writer
from skep_workers.session.output.diversion import Diversion
from skep_workers.session.output.fast_path import FastPath
from skep_workers.session.output.flush_burst import FlushBurst
from skep_workers.session.output.forked_output import ForkedOutput
from skep_workers.session.output.frame_batch import FrameBatch, Text
from skep_workers.session.output.frame_sender import FrameSender
from skep_workers.session.output.output_limit import OutputLimit
from skep_workers.session.output.spool import Write
from skep_workers.session.safeguards.descriptors import replace
from skep_workers.session.safeguards.native_threads import Condition, has_others
from skep_workers.session.safeguards.shield import Shield
from skep_workers.session.safeguards.wakeup import write_keeping_gil

HIGH_WATER_CHARS: Final = 1024 * 1024
FLUSH_SECONDS: Final = 0.1


class CellLink:
    """Collects output and frames, and sends them; one per session process.

    Lock order: the sender's lock first, then `_lock`, which protects what is collected.
    """

    def __init__(self, sock: socket.socket, shield: Shield, flushed: FlushedText) -> None:
        self._sender = FrameSender(sock)
        self._shield = shield
        # Reentrant: a signal handler or a __del__ of user code may print while its own thread holds the lock.
        self._lock = RLock()
        self._room = Condition(self._lock)
        self._batch = FrameBatch()
        self._is_inside = False
        self._fast_path = FastPath(self._batch)
        self._burst = FlushBurst(flushed)
        self._last_frames: tuple[Frame, ...] = ()  # of a cell that has ended
        self._forked_output: ForkedOutput | None = None
        self.diversion: Diversion | None = None
        self.output_limit: Final = OutputLimit()
        self.is_sole_writer = False  # only code of the running cell can write on the main thread
        self.wake_fd: Final = _make_wake_fd()
        self.wakes_at = inf  # when the control thread looks at its deadlines again by itself (monotonic seconds)
        self.running = NO_CELL  # the cell that runs, or ran last
        self.sending_thread = 0  # the control thread, once it serves

    def begin_in_fork(self) -> None:
        """Make another wake-up descriptor, since the one of `__init__` is shared with the parent."""
        replace(self.wake_fd, _make_wake_fd())
        self.wakes_at = inf

    def install_write(self, stream: str, set_write: Callable[[Write], None], slow_write: Write) -> None:
        """Set the `write` of a stream with `set_write`, now and whenever it changes."""
        self._fast_path.install(stream, set_write, slow_write)

    def close_fast_path(self) -> None:
        """Make the next write take the slow path. This waits for nothing, and any thread may call it."""
        self._fast_path.close()

    def end_sole_writer(self) -> None:
        """Expect writes of other code than the running cell's on the main thread from now on."""
        self.is_sole_writer = False
        self._fast_path.close()

    def _collect_spooled(self) -> None:
        """Collect the text in the spool; the caller holds the lock."""
        if self._fast_path.spooling is not None:
            with self._shield:  # text that has left the spool must arrive in the batch
                self._fast_path.collect_spooled()

    def write(self, stream: str, text: str, writer: Writer | None = None, *, wakes: bool = True) -> None:
        """Collect text. The first in a batch wakes the control thread to send it, unless `wakes` is off.

        With a `writer` the caller never waits. Without one it waits while more than HIGH_WATER_CHARS are pending.
        """
        if not text:
            return
        if self._forked_output is not None:
            self._forked_output.write(stream, text)
            return
        owner = writer or current_writer.get()
        if owner is NO_CELL:
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
            # print() writes its newline separately. The line is sent whole if the control thread gets the GIL after it.
            write_keeping_gil(self.wake_fd)
        elif is_first:
            self.wake()

    @property
    def is_forked_copy(self) -> bool:
        """Return whether this is the copy in a child process that user code forked."""
        return self._forked_output is not None

    @property
    def is_full(self) -> bool:
        """Return whether so much text is pending that writers should wait."""
        return self._batch.chars > HIGH_WATER_CHARS

    @property
    def writer(self) -> Writer:
        """Return the cell that the calling code's output belongs to.

        Code of no cell, for instance a finalizer on another thread, belongs to the running cell.
        """
        writer = current_writer.get()
        return writer if writer is not NO_CELL else self.running

    def _may_wait(self) -> bool:
        """Return whether another thread can make room: not for the control thread, and not for code inside a write."""
        return not self._is_inside and get_ident() != self.sending_thread

    def set_diversion(self, diversion: Diversion | None) -> None:
        """Offer all output from now on to this diversion first; with None, end that."""
        with self._lock:
            self._fast_path.close()
            self._collect_spooled()
            self.diversion = diversion

    def _append(self, owner: Writer, stream: str, text: str) -> bool:
        """Collect text; return whether it is the first item of its batch."""
        if self.diversion is not None and self.diversion.capture_text(owner, stream, text):
            return False
        if self.output_limit.is_exceeded(owner):
            return False
        self._collect_spooled()
        batch = self._batch
        items = batch.items
        last = items[-1] if items else None
        if type(last) is Text and last.writer == owner and last.stream == stream:
            last.pieces.append(text)
        else:
            self._fast_path.close()
            items.append(Text(owner, stream, text))
        batch.chars += len(text)
        if not self._sender.lock.locked() and not has_others():
            self._fast_path.open(self.running if self.is_sole_writer else None)
        return last is None

    def _remove_pending(self) -> list[Text | Frame]:
        """Remove and return what is pending, within the output limit.

        The caller holds the sender's lock, so that items are sent in the order in which they are removed.
        """
        with self._lock:
            self._fast_path.close()
            self._collect_spooled()
            removed: list[Text | Frame] = []
            for item in self._batch.remove_all():
                removed += self.output_limit.apply(item) if type(item) is Text else [item]
            return removed

    def queue_frame(self, frame: Frame) -> None:
        """Collect a frame in its place among the output; the control thread sends it soon."""
        with self._lock:
            self._fast_path.close()
            self._collect_spooled()
            self._batch.items.append(frame)
        self.wake()

    def wake(self) -> None:
        """Make the control thread send what is pending and check its deadlines."""
        os.eventfd_write(self.wake_fd, 1)

    def wake_by(self, at: float) -> None:
        """Make the control thread look at its deadlines by this monotonic time.

        Cells with timeouts would otherwise wake it one after the other: 60 to 70 µs in each short cell.
        """
        if at < self.wakes_at:
            self.wake()

    def wake_if_pending(self) -> None:
        """Make the control thread send what is pending, if anything is."""
        if self._batch.items:
            self.wake()

    def flush(self, *, may_wait: bool = True) -> None:
        """Put what was collected where it outlives this process: into the socket, or into memory shared with the host.

        User code calls this. What the socket does not accept at once is sent by the control thread, since a wait here
        could not be interrupted.
        """
        if self._forked_output is not None:
            self._forked_output.flush()
            return
        if not self._batch.items or (self._burst.count_flush() and self._preserve_spooled()):
            return
        sender = self._sender
        with self._shield:
            if not sender.lock.acquire(timeout=FLUSH_SECONDS if may_wait else 0):
                return  # another thread is sending, and the host doesn't read
            try:
                sender.add(self._remove_pending())
                with self._lock:
                    self._room.notify_all()
                sender.send_without_blocking()
            finally:
                sender.lock.release()
        if sender.has_unsent:
            self.wake()

    def _preserve_spooled(self) -> bool:
        """Copy pending text to the shared memory; False if it has to be sent."""
        with self._lock:
            spooling = self._fast_path.spooling
            if spooling is None or len(self._batch.items) != 1:
                return False
            return self._burst.preserve(*spooling, self._sender.frames_sent)

    def set_last_frames(self, *frames: Frame) -> None:
        """Set the last frames of a cell; the next `send`, which may be another thread's, sends them."""
        self._last_frames = frames

    def send_before_last(self, frame: Frame) -> None:
        """Put a frame before the last one of a cell, or send it now if that has been sent already."""
        with self._sender.lock:
            if self._last_frames:
                self._last_frames = (*self._last_frames[:-1], frame, self._last_frames[-1])
                return
        self.send(frame)

    def send_last_frames(self) -> None:
        """Send the last frames of a cell whose snapshot takes long, so that later requests find the cell ended."""
        if self._last_frames:
            self.send()

    def send_collected(self) -> None:
        """Send what was collected, without the last frames of a cell, which are sent with its snapshot."""
        self._send((), with_last=False)

    def send(self, *frames: Frame) -> None:
        """Send what was collected, then the last frames of a cell, then these frames, in one piece."""
        self._send(frames, with_last=True)

    def _send(self, frames: tuple[Frame, ...], *, with_last: bool) -> None:
        with self._sender.lock:
            last: tuple[Frame, ...] = ()
            if with_last:
                last, self._last_frames = self._last_frames, last
            self._sender.send_all([*self._remove_pending(), *last, *frames])
        with self._lock:
            self._room.notify_all()

    def become_forked_copy(self) -> None:
        """Drop what was collected, and write to the inherited pipes from now on; in a child that user code forked."""
        self._lock = RLock()
        self._room = Condition(self._lock)
        self._sender.become_forked_copy()
        self._fast_path.close()
        self._collect_spooled()
        self.is_sole_writer = False
        self._batch.remove_all()
        if self._forked_output is None:  # otherwise a child of the child keeps its partial lines
            self._forked_output = ForkedOutput()


def _make_wake_fd() -> int:
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
