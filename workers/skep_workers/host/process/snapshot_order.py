"""Snapshots arrive from a process on two sockets, and are passed on in the order in which they were sent.

A large one arrives on the snapshot socket, a small one on the cell socket together with the end of its cell. Whichever
socket is read first, one from the cell socket is passed on only after those that were sent before it on the other one
(`behind`). Otherwise "nothing has changed" would let cells commit while their state is still on its way.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from skep_shared.errors import ProtocolError
from skep_shared.protocol.frames import Blob, Saved

MOST_HELD_BYTES: Final = 512 * 1024 * 1024  # what a process sends in place is far less; only a hostile one gets here
FRAME_BYTES: Final = 256  # counted for each frame besides its data


class SnapshotOrder:
    """Puts the parts of snapshots in order and passes them on."""

    def __init__(self, on_frame: Callable[[Blob | Saved], None]) -> None:
        self._on_frame = on_frame
        self._apart = 0  # complete snapshots from the snapshot socket
        self._held: deque[Blob | Saved] = deque()
        self._ends: deque[Saved] = deque()  # those of the snapshots that are held
        self._held_bytes = 0

    def receive_from_snapshots(self, frame: Blob | Saved) -> None:
        """Receive a part from the snapshot socket."""
        self._on_frame(frame)
        if isinstance(frame, Saved):
            self._apart += 1
            self._release()

    def receive_from_cells(self, frame: Blob | Saved) -> None:
        """Receive a part from the cell socket. Raise ProtocolError if too much waits for a snapshot that is missing."""
        self._held.append(frame)
        self._held_bytes += _size(frame)
        if isinstance(frame, Saved):
            self._ends.append(frame)
            self._release()
        if self._held_bytes > MOST_HELD_BYTES:
            raise ProtocolError(f"parts of snapshots of {self._held_bytes} bytes wait for the snapshots before them")

    def _release(self) -> None:
        held, ends = self._held, self._ends
        while ends and ends[0].behind <= self._apart:
            end = ends.popleft()
            while (frame := held.popleft()) is not end:
                self._held_bytes -= _size(frame)
                self._on_frame(frame)
            self._held_bytes -= _size(end)
            self._on_frame(end)


def _size(frame: Blob | Saved) -> int:
    if isinstance(frame, Blob):
        return FRAME_BYTES + len(frame.data)
    return FRAME_BYTES + len(frame.manifest) + sum(map(len, frame.blobs.values()))
