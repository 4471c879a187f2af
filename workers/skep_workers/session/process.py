"""A session process from fork to exit: descriptors, streams, loop, and the order in which cells run.

The main thread lives in the event loop. Between cells it reads the cell socket itself; frames that come while a cell
runs wait in a queue. The loop is never closed and never replaced, whatever user code does to it.
"""

import asyncio
import contextlib
import faulthandler
import os
import resource
import socket
import sys
import traceback
from collections import deque
from dataclasses import dataclass
from fcntl import F_DUPFD_CLOEXEC, fcntl
from platform import python_version
from typing import Final

from skep_shared.errors import ProtocolError
from skep_shared.frames import PROTOCOL_VERSION, Execute, FrameDecoder, Hello
from skep_workers.session.capture import PipeReader, install_streams
from skep_workers.session.control import ControlThread
from skep_workers.session.engine import Engine
from skep_workers.session.interrupts import Interrupter, Shield
from skep_workers.session.link import CellLink

RECEIVE_BYTES: Final = 256 * 1024
CAPABILITIES: Final = ["interrupt", "inputs"]
PROTOCOL_EXIT: Final = 70  # EX_SOFTWARE of sysexits.h


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The descriptors a session process gets, in the order in which they are passed."""

    cell_socket: int
    control_socket: int
    stdout_read: int
    stdout_write: int
    stderr_read: int
    stderr_write: int


class SessionMain:
    """The main thread's work."""

    def __init__(self, cell_socket: socket.socket, control_socket: socket.socket, pipes: tuple[int, int]) -> None:
        self._socket = cell_socket
        self._pid = os.getpid()
        self._decoder = FrameDecoder()
        self._queue: deque[Execute] = deque()
        self._running: asyncio.Task[None] | None = None
        self._leaving = False
        self._loop = asyncio.new_event_loop()
        self._link = CellLink(cell_socket)
        shield = Shield()
        self._reader = PipeReader(self._link, shield, *pipes)
        self._interrupter = Interrupter(self._loop, shield)
        self._engine = Engine(self._loop, self._link, self._reader, self._interrupter)
        self._control = ControlThread(
            control_socket,
            self._link,
            self._reader,
            self._interrupter,
            self._request_leave,
        )

    def run(self) -> None:
        """Serve until told to leave."""
        asyncio.set_event_loop(self._loop)
        install_streams(self._link, self._reader)
        self._interrupter.install()
        os.register_at_fork(after_in_child=self._link.become_forked_copy)
        self._control.start()
        self._link.send(Hello(PROTOCOL_VERSION, CAPABILITIES, self._pid, python_version()))
        self._socket.setblocking(True)  # sends wait for the host; reads happen only when there is something
        self._loop.add_reader(self._socket.fileno(), self._receive)
        while not self._leaving:
            # A task that user code left running may raise KeyboardInterrupt or SystemExit through the loop, and user
            # code may stop it: neither ends the session.
            with contextlib.suppress(KeyboardInterrupt, SystemExit):
                self._loop.run_forever()
            self._check_not_forked()
        self._link.send()

    def _receive(self) -> None:
        data = self._socket.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
        if not data:
            os._exit(0)  # the host has gone
        try:
            for frame in self._decoder.feed(data):
                if not isinstance(frame, Execute):
                    raise ProtocolError(f"{type(frame).__name__} does not belong on the cell socket")
                self._queue.append(frame)
        except ProtocolError:
            os._exit(PROTOCOL_EXIT)
        self._start_next()

    def _start_next(self) -> None:
        if self._running is None and self._queue:
            self._running = self._engine.start(self._queue.popleft())
            self._running.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._check_not_forked()
        self._running = None
        if not task.cancelled() and (failure := task.exception()) is not None:
            # The engine itself has failed; the host reports a crash, with this as the session's last words.
            traceback.print_exception(failure, file=sys.__stderr__)
            self._link.send()
            os._exit(PROTOCOL_EXIT)
        self._start_next()

    def _request_leave(self) -> None:
        self._loop.call_soon_threadsafe(self._leave_when_idle)

    def _leave_when_idle(self) -> None:
        if self._running is not None:
            self._running.add_done_callback(lambda _: self._leave_when_idle())
            return
        self._leaving = True
        self._loop.stop()

    def _check_not_forked(self) -> None:
        """End a child that user code forked and let run on into the engine: it is no session."""
        if os.getpid() != self._pid:
            os._exit(0)


def run_session(descriptors: Descriptors, directory: str) -> None:
    """Turn a fresh fork of the zygote into a session process; returns when the session has ended."""
    os.setsid()  # a process group of its own, so that all of it can be killed
    cell_socket, control_socket, stdout_read, stderr_read = _arrange(descriptors)
    os.chdir(directory)
    sys.path.insert(0, "")
    sys.argv = [""]
    faulthandler.enable(file=2, all_threads=False)
    numpy = sys.modules.get("numpy")
    if numpy is not None:  # the random module does this by itself after a fork
        numpy.random.seed()
    SessionMain(
        socket.socket(fileno=cell_socket), socket.socket(fileno=control_socket), (stdout_read, stderr_read)
    ).run()


def _arrange(descriptors: Descriptors) -> tuple[int, int, int, int]:
    """Put the pipes on 1 and 2, nothing on 0, and our own descriptors high up, where loops over low ones miss them."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = max(16, min(soft, 1024) - 32)
    moved = []
    for fd in (
        descriptors.cell_socket, descriptors.control_socket, descriptors.stdout_read, descriptors.stderr_read,
    ):  # fmt: skip
        moved.append(fcntl(fd, F_DUPFD_CLOEXEC, lowest))
        os.close(fd)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (descriptors.stdout_write, 1), (descriptors.stderr_write, 2)):
        os.dup2(source, target)
        os.close(source)
    return moved[0], moved[1], moved[2], moved[3]
