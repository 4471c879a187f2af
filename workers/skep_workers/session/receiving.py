"""The reading end of the cell socket.

Between cells frames are read as they come, many at once. While a state is being filled in, each large chunk is received
where it will stay, and its head before it alone: what is read with something else has to be copied.
"""

from collections.abc import Iterator
from typing import Final, TypeVar

from skep_shared.frame_codec import BLOB_HEAD_BYTES, FrameDecoder, Place
from skep_shared.frames import Frame
from skep_shared.originals import socket
from skep_workers.session.control import leave_with_everyone

RECEIVE_BYTES: Final = 256 * 1024

Received = TypeVar("Received", bytes, int)


class Receiver:
    """Gives the frames that the host sends to the main thread."""

    def __init__(self, sock: socket.socket, place: Place) -> None:
        """`place` is as FrameDecoder's."""
        self._socket = sock
        self._decoder = FrameDecoder(place=place)

    def receive(self) -> Iterator[Frame]:
        """Yield the frames that are whole now, when there is something to read. Raises ProtocolError."""
        if self._decoder.rest is None:
            try:
                data = self._socket.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:  # it was read in a turn of the loop that an exception of user code has cut short
                return
            yield from self._decoder.feed(_not_the_end(data))
        while (rest := self._decoder.rest) is not None:
            try:
                yield from self._decoder.took(_not_the_end(self._socket.recv_into(rest, 0, socket.MSG_DONTWAIT)))
                if self._decoder.rest is None:
                    head = self._socket.recv(BLOB_HEAD_BYTES, socket.MSG_DONTWAIT)
                    yield from self._decoder.feed(_not_the_end(head))
            except BlockingIOError:
                return


def _not_the_end(received: Received) -> Received:
    if not received:
        leave_with_everyone()  # the host has gone
    return received
