"""Sorts the frames of a session process, once each, to the part of the host that handles them.

Bytes that are no frames, and frames that don't belong on their socket, are a fault of the process.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from skep_shared.errors import ProtocolError
from skep_shared.protocol.frame_codec import FrameDecoder
from skep_shared.protocol.frames import (
    Blob,
    Done,
    Exiting,
    Fault,
    Frame,
    Hello,
    Leaving,
    Left,
    Pong,
    Reply,
    Restored,
    Saved,
    Twinned,
    Work,
)
from skep_workers.host.process.exit_status import ENGINE_FAILED
from skep_workers.host.process.leave_requests import LeaveRequests
from skep_workers.host.process.listener import CELL_OUTPUT, ProcessListener
from skep_workers.host.process.snapshot_order import SnapshotOrder
from skep_workers.host.process.twin_requests import TwinRequests

MAX_FAULT_CHARS: Final = 1000


class FrameRouter:
    """Decodes the bytes of the three sockets of one process, however they were split."""

    def __init__(
        self,
        listener: ProcessListener,
        on_broken: Callable[[], None],
        twins: TwinRequests,
        leave_requests: LeaveRequests,
    ) -> None:
        """`on_broken` is called after a fault."""
        self._listener = listener
        self._on_broken = on_broken
        self._twins = twins
        self._leave_requests = leave_requests
        self._cells = FrameDecoder()
        self._control = FrameDecoder()
        self._snapshots = FrameDecoder()
        self._snapshot_order = SnapshotOrder(listener.receive_snapshot_part)
        self.hello: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        self.pinged_at: float | None = None  # when the ping was sent that has not been answered yet
        self.fault: str | None = None  # what the process did wrong
        self.frames_received = 0  # on the cell socket

    def receive_cell_data(self, data: bytes) -> None:
        """Receive bytes of the cell socket."""
        try:
            for frame in self._cells.feed(data):
                if self.fault is not None:
                    return  # its end is decided: a Done after its last output must not count
                self.frames_received += 1
                self._route(frame)
        except ProtocolError as exc:
            self._break(exc)

    def _route(self, frame: Frame) -> None:
        if isinstance(frame, CELL_OUTPUT) and self.hello.done():  # first, since most frames are output
            self._listener.receive_output(frame)
        elif not self.hello.done():
            if not isinstance(frame, Hello):
                raise ProtocolError(f"the first frame is {type(frame).__name__}, not Hello")
            self.hello.set_result(frame)
        elif isinstance(frame, Done):
            self._listener.receive_done(frame)
        elif isinstance(frame, Blob | Saved):
            self._snapshot_order.receive_from_cells(frame)
        elif isinstance(frame, Restored):
            self._listener.receive_restored(frame)
        elif isinstance(frame, Leaving | Exiting | Left):
            self._leave_requests.receive_frame(frame)
        elif isinstance(frame, Twinned):
            self._twins.receive(frame)
        elif isinstance(frame, Fault):
            self.fault = f"{ENGINE_FAILED}{frame.reason[:MAX_FAULT_CHARS]}"
        else:
            raise ProtocolError(f"{type(frame).__name__} does not belong on the cell socket")

    def receive_control_data(self, data: bytes) -> None:
        """Receive bytes of the control socket."""
        try:
            for frame in self._control.feed(data):
                if isinstance(frame, Pong):
                    self.pinged_at = None
                elif isinstance(frame, Work):
                    self._leave_requests.receive_frame(frame)
                elif isinstance(frame, Reply):
                    self._listener.receive_reply(frame)
                else:
                    raise ProtocolError(f"{type(frame).__name__} does not belong on the control socket")
        except ProtocolError as exc:
            self._break(exc)

    def receive_snapshot_data(self, data: bytes) -> None:
        """Receive bytes of the snapshot socket."""
        try:
            for frame in self._snapshots.feed(data):
                if not isinstance(frame, Blob | Saved):
                    raise ProtocolError(f"{type(frame).__name__} does not belong on the snapshot socket")
                self._snapshot_order.receive_from_snapshots(frame)
        except ProtocolError as exc:
            self._break(exc)

    def _break(self, exc: ProtocolError) -> None:
        self.fault = f"it broke the protocol ({exc})"
        self._on_broken()
