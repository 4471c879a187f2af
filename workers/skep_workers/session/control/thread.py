"""The control thread: serves requests that can't wait for the end of a cell, and sends output while one runs.

It never runs user code, and waits only in its poll(): for the control socket, the pipes of descriptors 1 and 2, and the
link's wake-up descriptor, until the next deadline. An idle session uses no processor time. The end of the control
socket means that the host has ended; the whole process group then ends too.
"""

import errno
from _signal import (  # type: ignore[import-not-found]  # signal's own make enums of them, in dozens of pages of memory
    SIG_BLOCK,
    SIGBUS,
    SIGSEGV,
    pthread_sigmask,
    valid_signals,
)
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from threading import Lock, get_ident  # bound early: user code may patch threading
from typing import Final

from skep_shared.errors import ProtocolError
from skep_shared.originals import os, resource, select, signal, socket, time
from skep_shared.protocol.frame_codec import FrameDecoder, encode_frame
from skep_shared.protocol.frames import (
    Answer,
    Fault,
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
from skep_workers.session.attribution.writer import Writer
from skep_workers.session.control.operations import OperationQueue
from skep_workers.session.interrupt.escalation import Escalation
from skep_workers.session.output.link import CellLink
from skep_workers.session.output.streams import PipeReader
from skep_workers.session.output.user_input import UserInput
from skep_workers.session.runtime.children import kill_children
from skep_workers.session.safeguards.clock import monotonic
from skep_workers.session.safeguards.native_threads import NativeThread

RECEIVE_BYTES: Final = 64 * 1024
PROTOCOL_EXIT: Final = 70  # EX_SOFTWARE of sysexits.h
START_FAILED_EXIT: Final = 71  # EX_OSERR
CLOSED_EXIT: Final = 74  # EX_IOERR
PATIENCE_MILLISECONDS: Final = 5
CATCH_UP_SECONDS: Final = 0.0005
CATCH_UP_CHECKS: Final = 100
_BLOCKED: Final = frozenset(valid_signals()) - {SIGSEGV, SIGBUS}  # the main thread gets all other signals


@dataclass(frozen=True, slots=True)
class Controls:
    """The receivers of requests."""

    escalation: Escalation
    user_input: UserInput
    operations: OperationQueue
    withdraw: Callable[[Writer], None]
    shut_down: Callable[[Shutdown], None]
    list_work: Callable[[int], Work]
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
        """Start the thread."""
        NativeThread(partial(self._serve, controls), "skep-control").start()

    def send(self, frame: Frame) -> None:
        """Send a frame on the control socket. Any thread may call this."""
        with self._sending:
            self.socket.sendall(encode_frame(frame))

    def catch_up(self) -> None:
        """Wait until all frames that the host has sent by now have been received; the main thread calls this."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        for _ in range(CATCH_UP_CHECKS):
            if not poll.poll(0) and not self._receiving.locked():
                return
            time.sleep(CATCH_UP_SECONDS)

    def _serve(self, controls: Controls) -> None:
        self._link.sending_thread = get_ident()
        pthread_sigmask(SIG_BLOCK, _BLOCKED)
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
                    # The main thread reads and sends this itself as soon as the call that wrote it has returned. It may
                    # end the process right after that, and text that was read here and not sent yet would be lost.
                    ready.update(patient.poll(PATIENCE_MILLISECONDS))
                if wake in ready:
                    os.eventfd_read(wake)
                if control in ready:
                    self._receive(controls)
                for fd in self._reader.streams:
                    if ready.get(fd, 0) & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                        poll.unregister(fd)  # every writing end is closed
                if is_written:
                    self._reader.drain()
                was_written = is_written
                self._link.send_collected()
        except OSError as exc:
            if exc.errno in {errno.EBADF, errno.ENOTSOCK}:
                os._exit(CLOSED_EXIT)  # user code has closed our descriptors
            if exc.errno == errno.EINVAL:  # poll(2) accepts no more descriptors than the process may have open
                self._link.send(Fault(_too_few_descriptors()))
                kill_children()
                os._exit(PROTOCOL_EXIT)
            end_with_descendants()
        except ProtocolError:
            os._exit(PROTOCOL_EXIT)

    def _milliseconds_to_wait(self, controls: Controls) -> float | None:
        # A cell that starts from here on wakes this thread; one that started before is among the deadlines below.
        planned, self._link.wakes_at = self._link.wakes_at, inf
        controls.escalation.run_due_steps()
        times = [at for at in (controls.escalation.next_deadline(), controls.operations.expire()) if at is not None]
        now = monotonic()
        if now < planned < inf:
            times.append(planned)  # of a cell that has ended: the next one will have a later deadline, and need no wake
        if not times:
            return None
        self._link.wakes_at = min(times)
        return max(0.0, (self._link.wakes_at - now) * 1000) + 0.5

    def _receive(self, controls: Controls) -> None:
        with self._receiving:
            self._dispatch(controls, self.socket.recv(RECEIVE_BYTES))

    def _dispatch(self, controls: Controls, data: bytes) -> None:
        if not data:
            end_with_descendants()
        for frame in self._decoder.feed(data):
            match frame:
                case Interrupt(seq, attempt):
                    controls.escalation.request(Writer(seq, attempt))
                    self._link.send_last_frames()
                case Withdraw(seq, attempt):
                    controls.withdraw(Writer(seq, attempt))
                case Answer(request, text):
                    controls.user_input.deliver_answer(request, text)
                case Request():
                    controls.operations.submit(frame)
                case Ping(number):
                    self.send(Pong(number))
                    self._link.send_last_frames()
                case Resend():
                    controls.resend()
                case Shutdown():
                    controls.shut_down(frame)
                case Inquiry(number):
                    self.send(controls.list_work(number))
                case _:
                    raise ProtocolError(f"{type(frame).__name__} does not belong on the control socket")


def _too_few_descriptors() -> str:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        f"code of the session has lowered its limit of open files, RLIMIT_NOFILE, to {soft}, and the engine needs more"
    )


def end_with_descendants() -> None:
    """End this process and all processes that it has started, because the host has ended.

    The zygote would inherit and kill its daemons, which have their own groups, but it may have died before the host.
    """
    kill_children()
    os.killpg(0, signal.SIGKILL)
    os._exit(PROTOCOL_EXIT)  # for a process that has left its group
