"""A session process from fork to exit: descriptors, streams, loop, and the order in which cells run.

The main thread lives in the event loop and leaves it only to run a blocking cell. Between cells it reads the cell
socket itself; frames that come while a cell runs wait in a queue. The loop is never closed and never replaced, whatever
user code does to it.
"""

import asyncio
import contextlib
import faulthandler
import os
import signal
import socket
import sys
import traceback
import warnings
from collections import deque
from functools import partial
from platform import python_version
from typing import Any, Final, NoReturn

from skep_shared.errors import ProtocolError
from skep_shared.flushed_text import FlushedText
from skep_shared.frames import PROTOCOL_VERSION, Blob, Configure, Execute, Fault, FrameDecoder, Hello, Restore
from skep_shared.interrupt_page import INTERRUPT_SIGNAL, InterruptPage
from skep_shared.states import CellStatus
from skep_workers.session.asking import DEFAULT_DEADLINE_SECONDS, Asker
from skep_workers.session.attribution import install_thread_hook
from skep_workers.session.capture import PipeReader, install_streams
from skep_workers.session.checkpoint.keeping import Keeper
from skep_workers.session.children import adopt_orphans
from skep_workers.session.control import PROTOCOL_EXIT, Controls, ControlThread, leave_with_everyone
from skep_workers.session.descriptors import Descriptors, arrange
from skep_workers.session.displays import DisplayPublisher, install_publisher
from skep_workers.session.engine import Engine
from skep_workers.session.inspection import Inspector
from skep_workers.session.interrupts import Interrupter
from skep_workers.session.ladder import DEFAULT_GRACE_SECONDS, Ladder
from skep_workers.session.link import DEFAULT_OUTPUT_LIMIT_BYTES, CellLink, Writer
from skep_workers.session.loop import SessionLoop
from skep_workers.session.operations import Operations
from skep_workers.session.prepared import Ending, Prepared
from skep_workers.session.shield import Shield
from skep_workers.session.sources import install_class_sources
from skep_workers.session.workspace_calls import WorkspaceCalls

RECEIVE_BYTES: Final = 256 * 1024
MAX_FAULT_CHARS: Final = 1000
CAPABILITIES: Final = ["interrupt", "inputs", "input", "operations", "display"]


class SessionMain:
    """The main thread's work."""

    def __init__(
        self,
        cell_socket: socket.socket,
        control_socket: socket.socket,
        snapshot_socket: socket.socket,
        pipes: tuple[int, int],
        interrupt_page: InterruptPage,
        flushed: FlushedText,
    ) -> None:
        self._socket = cell_socket
        self._pid = os.getpid()
        self._decoder = FrameDecoder()
        self._queue: deque[Execute] = deque()
        self._withdrawn: set[Writer] = set()
        self._is_busy = False
        self._outside: Prepared | None = None
        self._is_leaving = False
        self._saving: asyncio.TimerHandle | None = None
        shield = Shield()
        self._loop = SessionLoop(shield)
        self._link = CellLink(cell_socket, shield, flushed)
        self._reader = PipeReader(self._link, shield, *pipes)
        self._interrupter = Interrupter(self._loop, shield, interrupt_page.read)
        self._ladder = Ladder(self._interrupter)
        self._asker = Asker(self._link)
        self._publisher = DisplayPublisher(self._link)
        self._engine = Engine(self._loop, self._link, self._interrupter, shield, self._publisher, self._reader.drain)
        self._keeper = Keeper(self._engine.namespace, snapshot_socket, self._on_snapshot_done)
        self._engine.keep_with(self._keeper)
        self._control = ControlThread(control_socket, self._link, self._reader)
        self._files = WorkspaceCalls(self._engine.namespace, os.getcwd())  # noqa: PTH109 - compared as text
        handlers = {**Inspector(self._engine.namespace).handlers, **self._files.handlers}
        self._operations = Operations(handlers, self._control.answer)

    def run(self) -> None:
        """Serve until told to leave."""
        asyncio.set_event_loop(self._loop)
        self._link.send(Hello(PROTOCOL_VERSION, CAPABILITIES, self._pid, python_version()))
        self._take_over_process()
        self._control.start(
            Controls(self._ladder, self._asker, self._operations, self._withdrawn.add, self._request_leave)
        )
        self._socket.setblocking(True)  # sends wait for the host; reads happen only when there is something
        self._loop.add_reader(self._socket.fileno(), self._receive)
        try:
            self._serve()
        except Exception as failure:  # noqa: BLE001 - the process ends here
            self._fail(failure)
        self._link.send(*self._keeper.finish())
        self._engine.close()
        self._link.send()

    def _serve(self) -> None:
        while not self._is_leaving:
            # A task that user code left running may raise KeyboardInterrupt or SystemExit through the loop, and user
            # code may stop it: neither ends the session.
            with contextlib.suppress(KeyboardInterrupt, SystemExit):
                self._loop.run_forever()
            prepared, self._outside = self._outside, None
            if prepared is not None:
                self._engine.run_outside(prepared)
                self._on_cell_done()
                if not self._is_leaving:
                    self._start_next()

    def _take_over_process(self) -> None:
        install_streams(self._link, self._reader)
        # Python 3.12 warns cells of forking beside a thread. Here one is beside them always, the control thread, which
        # the child of a fork does without.
        warnings.filterwarnings("ignore", r"This process \(pid=\d+\) is multi-threaded", DeprecationWarning)
        install_thread_hook(self._link.close_short_way)
        install_class_sources()
        install_publisher(self._publisher)
        for name in ("display", "update_display", "clear_output"):
            setattr(sys.modules["builtins"], name, getattr(self._publisher, name))
        self._asker.install()
        self._interrupter.install()
        self._reader.watch()
        self._engine.install()
        self._keeper.install()
        self._files.install()
        os.register_at_fork(after_in_child=self._link.become_forked_copy)
        os.register_at_fork(after_in_child=self._reader.become_forked_copy)

    def _configure(self, options: dict[str, Any]) -> None:
        self._engine.configure(
            options.get("detection") or {}, options.get("tla_timeout"), options.get("ast_cache_size")
        )
        self._asker.allow_input = bool(options.get("allow_input", True))
        self._asker.deadline_seconds = float(options.get("input_timeout") or DEFAULT_DEADLINE_SECONDS)
        self._ladder.grace_seconds = float(options.get("interrupt_grace") or DEFAULT_GRACE_SECONDS)
        self._keeper.configure(options)
        self._link.output_limit_bytes = int(options.get("output_limit") or DEFAULT_OUTPUT_LIMIT_BYTES)

    def _receive(self) -> None:
        data = self._socket.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
        if not data:
            leave_with_everyone()  # the host has gone
        try:
            for frame in self._decoder.feed(data):
                if isinstance(frame, Configure):
                    self._configure(frame.options)
                elif isinstance(frame, Blob):
                    self._keeper.put(frame)
                elif isinstance(frame, Restore):
                    restored, self._engine.future_flags = self._keeper.restore(frame)
                    self._link.send(restored)
                elif isinstance(frame, Execute):
                    self._queue.append(frame)
                else:
                    raise ProtocolError(f"{type(frame).__name__} does not belong on the cell socket")
        except ProtocolError:
            os._exit(PROTOCOL_EXIT)
        self._start_next()

    def _start_next(self) -> None:
        while not self._is_busy and self._queue:
            self._is_busy = True
            cell = self._queue.popleft()
            self._reader.drain()  # what was written before belongs to the cell before
            self._link.running = writer = Writer(cell.seq, cell.attempt)
            if writer in self._withdrawn:
                self._withdrawn.discard(writer)
                started = Prepared(cell, writer, 0, ending=Ending(CellStatus.CANCELLED))
                self._engine.finish_unstarted(started, Ending(CellStatus.CANCELLED))
                self._is_busy = False
                continue
            try:
                prepared = self._engine.prepare(cell)
            except Exception as failure:  # noqa: BLE001 - the process ends here; the loop would only log it
                self._fail(failure)
            if prepared.runs_outside:
                self._outside = prepared
                self._loop.stop()
            else:
                self._engine.spawn(prepared).add_done_callback(partial(self._on_task_done, prepared))

    def _on_task_done(self, prepared: Prepared, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self._engine.finish_cancelled(prepared)
        elif (failure := task.exception()) is not None:
            self._fail(failure)
        self._on_cell_done()
        if not self._is_leaving:
            self._start_next()  # a task, so that others have their turn before it

    def _on_cell_done(self) -> None:
        if os.getpid() != self._pid:
            os._exit(0)  # a child that user code forked and let run on into the engine: it is no session
        self._is_busy = False
        if self._is_leaving:
            self._loop.stop()
        else:
            self._save_if_wanted()

    def _on_snapshot_done(self) -> None:
        self._loop.call_soon_threadsafe(self._save_if_wanted)

    def _save_if_wanted(self) -> None:
        if not self._is_busy:
            try:
                frames = self._keeper.when_idle()
            except Exception as failure:  # noqa: BLE001 - the process ends here; the loop would only log it
                self._fail(failure)
            if frames:
                self._link.send(*frames)
            elif self._keeper.is_due_later and self._saving is None:
                self._saving = self._loop.call_later(self._keeper.seconds_to_wait, self._save_now)

    def _save_now(self) -> None:
        self._saving = None
        self._save_if_wanted()

    def _fail(self, failure: BaseException) -> NoReturn:
        """End the process: the engine itself has failed. The host reports a crash, with this as its last words."""
        traceback.print_exception(failure, file=sys.__stderr__)
        self._link.send(Fault(f"{type(failure).__name__}: {failure}"[:MAX_FAULT_CHARS]))
        os._exit(PROTOCOL_EXIT)

    def _request_leave(self) -> None:
        self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        self._is_leaving = True
        if not self._is_busy:
            self._loop.stop()


def run_session(descriptors: Descriptors, directory: str) -> None:
    """Turn a fresh fork of the zygote into a session process; returns when the session has ended."""
    signal.signal(INTERRUPT_SIGNAL, signal.SIG_IGN)  # it could come before its handler is there, and would kill
    os.setsid()  # a process group of its own, so that all of it can be killed
    adopt_orphans()
    cell_socket, control_socket, snapshot_socket, stdout_read, stderr_read, page = arrange(descriptors)
    os.chdir(directory)
    sys.path.insert(0, "")
    sys.argv = [""]
    faulthandler.enable(file=2, all_threads=False)
    flushed = FlushedText(page)
    numpy = sys.modules.get("numpy")
    if numpy is not None:  # the random module does this by itself after a fork
        numpy.random.seed()
    SessionMain(
        socket.socket(fileno=cell_socket),
        socket.socket(fileno=control_socket),
        socket.socket(fileno=snapshot_socket),
        (stdout_read, stderr_read),
        InterruptPage(page),
        flushed,
    ).run()
