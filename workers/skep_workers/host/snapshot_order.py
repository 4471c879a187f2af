"""Snapshots come from a process on two sockets, and count in the order in which they were sent.

A large one comes on the snapshot socket, a small one on the cell socket together with the end of its cell. Whichever
socket is read first, one on the cell socket counts after those that were sent on the other one before it (`behind`):
else "nothing has changed" would let cells commit whose state is still on its way.
"""

from collections import deque
from collections.abc import Callable

from skep_shared.frames import Blob, Saved


class SnapshotOrder:
    """Puts the parts of snapshots in order and hands them on."""

    def __init__(self, on_frame: Callable[[Blob | Saved], None]) -> None:
        self._on_frame = on_frame
        self._apart = 0
        self._held: deque[Blob | Saved] = deque()

    def take_apart(self, frame: Blob | Saved) -> None:
        """Take a part that came on the snapshot socket."""
        self._on_frame(frame)
        if isinstance(frame, Saved):
            self._apart += 1
            self._release()

    def take(self, frame: Blob | Saved) -> None:
        """Take a part that came on the cell socket."""
        self._held.append(frame)
        self._release()

    def _release(self) -> None:
        held = self._held
        while held:
            end = next((frame for frame in held if isinstance(frame, Saved)), None)
            if end is None or end.behind > self._apart:
                return
            while (frame := held.popleft()) is not end:
                self._on_frame(frame)
            self._on_frame(end)
