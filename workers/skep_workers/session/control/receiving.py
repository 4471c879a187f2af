"""The reading end of the cell socket.

Between cells all frames that have arrived are read at once. During a restore each large chunk is received directly in
its final place, and its head is read alone before it: data that is read together with other data has to be copied.
"""

from collections.abc import Iterator
from typing import Final, TypeVar

from skep_shared.originals import socket
from skep_shared.protocol.frame_codec import BLOB_HEAD_BYTES, FindDestination, FrameDecoder
from skep_shared.protocol.frames import Frame
from skep_workers.session.control.thread import end_with_descendants

RECEIVE_BYTES: Final = 256 * 1024

Received = TypeVar("Received", bytes, int)


class Receiver:
    """Receives the frames that the host sends to the main thread."""

    def __init__(self, sock: socket.socket, place: FindDestination) -> None:
        """`place` is that of FrameDecoder."""
        self._socket = sock
        self._decoder = FrameDecoder(find_destination=place)

    def receive(self) -> Iterator[Frame]:
        """Yield the frames that are complete now. Call this when the socket is readable. Raises ProtocolError."""
        if self._decoder.rest is None:
            try:
                data = self._socket.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:  # it was read in a turn of the loop that an exception cut short
                return
            yield from self._decoder.feed(_check_end(data))
        while (rest := self._decoder.rest) is not None:
            try:
                yield from self._decoder.mark_received(_check_end(self._socket.recv_into(rest, 0, socket.MSG_DONTWAIT)))
                if self._decoder.rest is None:
                    head = self._socket.recv(BLOB_HEAD_BYTES, socket.MSG_DONTWAIT)
                    yield from self._decoder.feed(_check_end(head))
            except BlockingIOError:
                return


def _check_end(received: Received) -> Received:
    if not received:
        end_with_descendants()  # the host has ended
    return received
