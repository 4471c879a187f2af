"""The control thread: answers what can't wait for a cell to end, and sends output while one runs.

It never runs user code and never waits for anything but its poll(): on the control socket, the pipes of descriptors 1
and 2, and the link's wake-up descriptor, until the next deadline. An idle session costs nothing. When the control
socket ends, the host has gone and so must the whole process group.
"""

import errno
from _signal import (  # type: ignore[import-not-found]  # signal's own make enums of them: dozens of pages of memory
    SIG_BLOCK,
    SIGBUS,
    SIGSEGV,
    pthread_sigmask,
    valid_signals,
)
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from threading import Lock, get_ident  # bound early: user code may patch threading
from typing import Final

from skep_shared.errors import ProtocolError
from skep_shared.frame_codec import FrameDecoder, encode_frame
from skep_shared.frames import (
    Answer,
    Frame,
    Inquiry,
    Interrupt,
    Ping,
    Pong,
    Request,
    Resend,
    Shutdown,
    Withdraw,
    Work,
)
from skep_shared.originals import os, select, signal, socket, time
from skep_workers.session.asking import Asker
from skep_workers.session.capture import PipeReader
from skep_workers.session.children import kill_children
from skep_workers.session.clock import monotonic
from skep_workers.session.ladder import Ladder
from skep_workers.session.link import CellLink
from skep_workers.session.native_threads import NativeThread
from skep_workers.session.operations import Operations
from skep_workers.session.writer import Writer

RECEIVE_BYTES: Final = 64 * 1024
PROTOCOL_EXIT: Final = 70  # EX_SOFTWARE of sysexits.h
START_FAILED_EXIT: Final = 71  # EX_OSERR
CLOSED_EXIT: Final = 74  # EX_IOERR
PATIENCE_MILLISECONDS: Final = 5
CATCH_UP_SECONDS: Final = 0.0005
CATCH_UP_LOOKS: Final = 100
_NOT_HERE: Final = frozenset(valid_signals()) - {SIGSEGV, SIGBUS}  # signals go to the main thread


@dataclass(frozen=True, slots=True)
class Controls:
    """What requests are handed to."""

    ladder: Ladder
    asker: Asker
    operations: Operations
    withdraw: Callable[[Writer], None]
    shut_down: Callable[[Shutdown], None]
    work: Callable[[int], Work]
    resend: Callable[[], None]


class ControlThread:
    """Serves the control socket of one session process."""

    def __init__(self, sock: socket.socket, link: CellLink, reader: PipeReader) -> None:
        self.socket: Final = sock
        self._link = link
        self._reader = reader
        self._decoder = FrameDecoder()
        self._sending = Lock()
        self._receiving = Lock()

    def start(self, controls: Controls) -> None:
        """Start serving."""
        NativeThread(partial(self._serve, controls), "skep-control").start()

    def answer(self, frame: Frame) -> None:
        """Send a frame on the control socket; from any thread."""
        with self._sending:
            self.socket.sendall(encode_frame(frame))

    def catch_up(self) -> None:
        """Wait until what the host has sent by now has been heard; the main thread calls this."""
        look = select.poll()
        look.register(self.socket, select.POLLIN)
        for _ in range(CATCH_UP_LOOKS):
            if not look.poll(0) and not self._receiving.locked():
                return
            time.sleep(CATCH_UP_SECONDS)

    def _serve(self, controls: Controls) -> None:
        self._link.sending_thread = get_ident()
        pthread_sigmask(SIG_BLOCK, _NOT_HERE)
        poll = select.poll()
        control, wake = self.socket.fileno(), self._link.wake_fd
        for fd in (control, wake, *self._reader.streams):
            poll.register(fd, select.POLLIN)
        was_written, patient = False, select.poll()
        for fd in (control, wake):
            patient.register(fd, select.POLLIN)
        try:
            while True:
                ready = dict(poll.poll(self._milliseconds_to_wait(controls)))
                is_written = any(fd in ready for fd in self._reader.streams)
                if is_written and not was_written:
                    # The main thread reads and sends this itself as soon as it is back from the call that wrote it. It
                    # may end the process right after; read here and not sent yet, the text would go with it.
                    ready.update(patient.poll(PATIENCE_MILLISECONDS))
                if wake in ready:
                    os.eventfd_read(wake)
                if control in ready:
                    self._receive(controls)
                for fd in self._reader.streams:
                    if ready.get(fd, 0) & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                        poll.unregister(fd)  # nobody can write there any more
                if is_written:
                    self._reader.drain()
                was_written = is_written
                self._link.send_collected()
        except OSError as exc:
            if exc.errno in {errno.EBADF, errno.ENOTSOCK}:
                os._exit(CLOSED_EXIT)  # user code has closed our descriptors
            leave_with_everyone()
        except ProtocolError:
            os._exit(PROTOCOL_EXIT)

    def _milliseconds_to_wait(self, controls: Controls) -> float | None:
        controls.ladder.tick()
        times = [at for at in (controls.ladder.next_deadline(), controls.operations.expire()) if at is not None]
        return max(0.0, (min(times) - monotonic()) * 1000) + 0.5 if times else None

    def _receive(self, controls: Controls) -> None:
        with self._receiving:
            self._take(controls, self.socket.recv(RECEIVE_BYTES))

    def _take(self, controls: Controls, data: bytes) -> None:
        if not data:
            leave_with_everyone()
        for frame in self._decoder.feed(data):
            match frame:
                case Interrupt(seq, attempt):
                    controls.ladder.request(Writer(seq, attempt))
                    self._link.send_late_end()
                case Withdraw(seq, attempt):
                    controls.withdraw(Writer(seq, attempt))
                case Answer(request, text):
                    controls.asker.answer(request, text)
                case Request():
                    controls.operations.submit(frame)
                case Ping(number):
                    self.answer(Pong(number))
                    self._link.send_late_end()
                case Resend():
                    controls.resend()
                case Shutdown():
                    controls.shut_down(frame)
                case Inquiry(number):
                    self.answer(controls.work(number))
                case _:
                    raise ProtocolError(f"{type(frame).__name__} does not belong on the control socket")


def leave_with_everyone() -> None:
    """End this process and what it has started; there is nobody left to talk to.

    Its daemons, which have groups of their own, would fall to the zygote; but it may have died before the host.
    """
    kill_children()
    os.killpg(0, signal.SIGKILL)
    os._exit(PROTOCOL_EXIT)  # a process that left its group
