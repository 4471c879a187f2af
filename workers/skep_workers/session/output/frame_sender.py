"""The writing end of the cell socket: encodes frames and remembers what the socket did not accept."""

from contextlib import suppress
from threading import Lock  # bound early: user code may patch threading

from skep_shared.originals import socket
from skep_shared.protocol.frames import Frame
from skep_workers.session.output.frame_batch import Text, encode


class FrameSender:
    """Sends on one socket. Hold `lock` while calling any method, so that frames leave in the order of collection."""

    __slots__ = ("_socket", "_unsent", "frames_sent", "lock")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._unsent = b""
        self.frames_sent = 0  # or encoded, and sent with the next ones
        self.lock = Lock()

    @property
    def has_unsent(self) -> bool:
        """Return whether encoded frames wait for room in the socket. `lock` is not needed for this."""
        return bool(self._unsent)

    def send_all(self, items: list[Text | Frame]) -> None:
        """Send the unsent rest and these items in one piece; block until the socket has accepted all of it."""
        data = self._unsent + self._encode(items)
        self._unsent = b""
        if data:
            self._socket.sendall(data)

    def add(self, items: list[Text | Frame]) -> None:
        """Encode these items; they are sent next."""
        self._unsent += self._encode(items)

    def send_without_blocking(self) -> None:
        """Send as much of what was added as the socket accepts now."""
        with suppress(BlockingIOError):
            self._unsent = self._unsent[self._socket.send(self._unsent, socket.MSG_DONTWAIT) :]

    def become_forked_copy(self) -> None:
        """Leave the socket to the parent, in a child that user code forked."""
        self.lock = Lock()
        self._socket.close()

    def _encode(self, items: list[Text | Frame]) -> bytes:
        encoded = encode(items)
        self.frames_sent += len(encoded)
        return b"".join(encoded)
