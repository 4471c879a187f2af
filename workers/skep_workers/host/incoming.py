"""What a session process says: each frame of its three sockets goes to whom it concerns.

Bytes that are no frames, and frames that don't belong where they come, are a fault of the process.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from skep_shared.errors import ProtocolError
from skep_shared.frame_codec import FrameDecoder
from skep_shared.frames import (
    Answer,
    Blob,
    Configure,
    Execute,
    Exiting,
    Expect,
    Fault,
    Frame,
    Hello,
    Inquiry,
    Interrupt,
    Leaving,
    Left,
    Ping,
    Pong,
    Reply,
    Request,
    Resend,
    Restore,
    Saved,
    Shutdown,
    Twin,
    Twinned,
    Withdraw,
    Work,
)
from skep_workers.host.parting import Parting
from skep_workers.host.snapshot_order import SnapshotOrder
from skep_workers.host.twin_requests import TwinRequests

MAX_FAULT_CHARS: Final = 1000
_HOSTS_OWN: Final = (
    Hello,
    Configure,
    Execute,
    Withdraw,
    Interrupt,
    Shutdown,
    Ping,
    Pong,
    Request,
    Reply,
    Answer,
    Expect,
    Resend,
    Restore,
    Twin,
    Inquiry,
    Work,
)


class Incoming:
    """Takes the bytes of the three sockets of one process, however they were cut."""

    def __init__(
        self,
        on_frame: Callable[[Frame], None],
        on_broken: Callable[[], None],
        twins: TwinRequests,
        parting: Parting,
    ) -> None:
        """`on_frame` gets what belongs to cells and the session, in order; `on_broken` is called after a fault."""
        self._on_frame = on_frame
        self._on_broken = on_broken
        self._twins = twins
        self._parting = parting
        self._cells = FrameDecoder()
        self._control = FrameDecoder()
        self._snapshots = FrameDecoder()
        self._snapshot_order = SnapshotOrder(on_frame)
        self.hello: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        self.pinged_at: float | None = None  # when it was asked for the sign of life that has not come yet
        self.fault: str | None = None  # what it did wrong, in words
        self.frames_received = 0  # on the cell socket

    def take_cell_data(self, data: bytes) -> None:
        """Take what came on the cell socket."""
        try:
            for frame in self._cells.feed(data):
                self.frames_received += 1
                if not self.hello.done():
                    if not isinstance(frame, Hello):
                        raise ProtocolError(f"the first frame is {type(frame).__name__}, not Hello")
                    self.hello.set_result(frame)
                elif isinstance(frame, Fault):
                    self.fault = f"the engine failed: {frame.reason[:MAX_FAULT_CHARS]}"
                elif isinstance(frame, Blob | Saved):
                    self._snapshot_order.take(frame)
                elif isinstance(frame, Twinned):
                    self._twins.take(frame)
                elif isinstance(frame, Leaving | Exiting | Left):
                    self._parting.take(frame)
                elif isinstance(frame, _HOSTS_OWN):
                    raise ProtocolError(f"{type(frame).__name__} does not come from a session process")
                else:
                    self._on_frame(frame)
        except ProtocolError as exc:
            self._break(exc)

    def take_control_data(self, data: bytes) -> None:
        """Take what came on the control socket."""
        try:
            for frame in self._control.feed(data):
                if isinstance(frame, Pong):
                    self.pinged_at = None
                elif isinstance(frame, Work):
                    self._parting.take(frame)
                elif isinstance(frame, Reply):
                    self._on_frame(frame)
                else:
                    raise ProtocolError(f"{type(frame).__name__} does not belong on the control socket")
        except ProtocolError as exc:
            self._break(exc)

    def take_snapshot_data(self, data: bytes) -> None:
        """Take what came on the snapshot socket."""
        try:
            for frame in self._snapshots.feed(data):
                if not isinstance(frame, Blob | Saved):
                    raise ProtocolError(f"{type(frame).__name__} does not belong on the snapshot socket")
                self._snapshot_order.take_apart(frame)
        except ProtocolError as exc:
            self._break(exc)

    def _break(self, exc: ProtocolError) -> None:
        self.fault = f"it broke the protocol ({exc})"
        self._on_broken()
