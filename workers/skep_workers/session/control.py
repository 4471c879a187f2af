"""The protocol thread: answers what can't wait for a cell to end, and sends output while one runs.

It never runs user code. It sleeps in poll() on the control socket, the pipes of descriptors 1 and 2 and the link's
wake-up descriptor, so an idle session costs nothing. When the control socket ends, the host has gone and so must the
whole process group.
"""

import os
import select
import signal
import socket
import threading
from collections.abc import Callable
from typing import Final

from skep_shared.errors import ProtocolError
from skep_shared.frames import FrameDecoder, Interrupt, Ping, Pong, Shutdown, encode_frame
from skep_workers.session.capture import PipeReader
from skep_workers.session.interrupts import Interrupter
from skep_workers.session.link import CellLink, Writer

RECEIVE_BYTES: Final = 64 * 1024
PROTOCOL_EXIT: Final = 70  # EX_SOFTWARE of sysexits.h


class ControlThread:
    """Serves the control socket of one session process."""

    def __init__(
        self,
        sock: socket.socket,
        link: CellLink,
        reader: PipeReader,
        interrupter: Interrupter,
        on_shutdown: Callable[[], None],
    ) -> None:
        self._socket = sock
        self._link = link
        self._reader = reader
        self._interrupter = interrupter
        self._on_shutdown = on_shutdown
        self._decoder = FrameDecoder()
        self._thread = threading.Thread(target=self._serve, name="skep-control", daemon=True)

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def _serve(self) -> None:
        # Real-time and user signals go to the main thread; here they would only disturb.
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE})
        poll = select.poll()
        control, wake = self._socket.fileno(), self._link.wake_fd
        for fd in (control, wake, *self._reader.streams):
            poll.register(fd, select.POLLIN)
        try:
            while True:
                ready = dict(poll.poll())
                if control in ready:
                    self._receive()
                if wake in ready:
                    os.eventfd_read(wake)
                for fd in self._reader.streams:
                    if ready.get(fd, 0) & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                        poll.unregister(fd)  # nobody can write there any more
                        ready[fd] = select.POLLIN
                if any(fd in ready for fd in self._reader.streams):
                    self._reader.drain()
                self._link.send()
        except (OSError, ProtocolError):
            _leave_with_everyone()

    def _receive(self) -> None:
        data = self._socket.recv(RECEIVE_BYTES)
        if not data:
            _leave_with_everyone()
        for frame in self._decoder.feed(data):
            match frame:
                case Interrupt(seq, attempt):
                    self._interrupter.request(Writer(seq, attempt))
                case Ping(number):
                    self._socket.sendall(encode_frame(Pong(number)))
                case Shutdown():
                    self._on_shutdown()
                case _:
                    raise ProtocolError(f"{type(frame).__name__} does not belong on the control socket")


def _leave_with_everyone() -> None:
    """End this process and what it started in its group; there is nobody left to talk to."""
    os.killpg(0, signal.SIGKILL)
    os._exit(PROTOCOL_EXIT)  # a process that left its group
