"""The order in which a process's frames and its faults count."""

import pytest

from skep_shared.protocol.frame_codec import PROTOCOL_VERSION, encode_frame
from skep_shared.protocol.frames import Done, Hello, Output
from skep_workers.host.process.frame_router import FrameRouter
from skep_workers.host.process.leave_requests import LeaveRequests
from skep_workers.host.process.twin_requests import TwinRequests

pytestmark = pytest.mark.anyio


class Listener:
    """Finds a fault in the first output, as the watch over a session's limits does."""

    def __init__(self):
        self.router = None
        self.received = []

    def receive_output(self, frame):
        self.received.append(frame)
        self.router.fault = "it wrote too much"

    def receive_done(self, frame):
        self.received.append(frame)

    def receive_snapshot_part(self, frame):
        self.received.append(frame)


async def test_a_cell_that_ends_behind_a_fault_has_not_ended():
    listener = Listener()
    router = listener.router = FrameRouter(listener, lambda: None, TwinRequests(), LeaveRequests())
    hello = encode_frame(Hello(PROTOCOL_VERSION, [], 1, "3.11"))
    output = Output(1, 1, "stdout", "x")
    done = encode_frame(Done(1, 1, "finished", 1, "simple_sync", {}))

    router.receive_cell_data(hello + encode_frame(output) + done)
    router.receive_cell_data(done)

    assert listener.received == [output]
    assert router.fault == "it wrote too much"
