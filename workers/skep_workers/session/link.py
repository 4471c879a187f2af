"""The writing end of the cell socket: everything that belongs to a cell goes through here, in one order.

Text is collected and sent in batches. User code never sends: a KeyboardInterrupt in the middle of a send would cut a
frame in two. It appends, and waits (interruptibly) when too much is pending; the protocol thread sends. Only at the end
of a cell the main thread sends, outside of user code, what is left together with the Done frame: a short cell costs one
send and no hand-over between threads.
"""

import os
import socket
import threading
from contextvars import ContextVar
from typing import Final, NamedTuple

from skep_shared.frames import Frame, Output, encode_frame

HIGH_WATER_BYTES: Final = 1024 * 1024
CHUNK_CHARS: Final = 64 * 1024


class Writer(NamedTuple):
    """Whose output it is: a cell's attempt; seq 0 is nobody's."""

    seq: int
    attempt: int


NOBODY: Final = Writer(0, 0)

# Copied into tasks when they are created, so that what a task prints is its cell's, whenever it prints.
current_writer: ContextVar[Writer] = ContextVar("skep_writer", default=NOBODY)


class CellLink:
    """Collects output and sends frames; one per session process."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._lock = threading.Lock()
        self._drained = threading.Condition(self._lock)
        self._pending: list[tuple[Writer, str, list[str]]] = []
        self._pending_chars = 0
        self.wake_fd: Final = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.is_forked_copy = False

    def write(self, stream: str, text: str, writer: Writer | None = None) -> None:
        """Collect text; the protocol thread sends it soon. Waits while more than HIGH_WATER_BYTES are pending."""
        if not text:
            return
        if self.is_forked_copy:
            os.write(2 if stream == "stderr" else 1, text.encode("utf-8", "backslashreplace"))
            return
        owner = current_writer.get() if writer is None else writer
        with self._lock:
            while self._pending_chars > HIGH_WATER_BYTES and writer is None:
                self._drained.wait()
            pending = self._pending
            was_empty = not pending
            if pending and pending[-1][0] == owner and pending[-1][1] == stream:
                pending[-1][2].append(text)
            else:
                pending.append((owner, stream, [text]))
            self._pending_chars += len(text)
        if was_empty:
            os.eventfd_write(self.wake_fd, 1)

    def send(self, *frames: Frame) -> None:
        """Send pending output and then these frames, in one piece."""
        with self._lock:
            data = self._take_pending()
            data += b"".join([encode_frame(frame) for frame in frames])
            if data:
                self._socket.sendall(data)
            self._drained.notify_all()

    def _take_pending(self) -> bytes:
        pending, self._pending, self._pending_chars = self._pending, [], 0
        parts = []
        for writer, stream, texts in pending:
            text = "".join(texts)
            for start in range(0, len(text), CHUNK_CHARS):
                frame = Output(writer.seq, writer.attempt, stream, text[start : start + CHUNK_CHARS])
                parts.append(encode_frame(frame))
        return b"".join(parts)

    def become_forked_copy(self) -> None:
        """Make this copy, in a child that user code forked, write to the inherited pipes and send nothing."""
        self._lock = threading.Lock()
        self._drained = threading.Condition(self._lock)
        self._pending, self._pending_chars = [], 0
        self.is_forked_copy = True
        self._socket.close()
