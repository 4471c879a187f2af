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
from collections import deque
from collections.abc import Iterable
from functools import partial
from platform import python_version
from typing import Any, Final, NoReturn

from skep_shared.errors import ProtocolError
from skep_shared.flushed_text import FlushedText
from skep_shared.frame_codec import PROTOCOL_VERSION, FrameDecoder
from skep_shared.frames import Blob, Configure, Execute, Fault, Hello, Restore, Twin, Twinned
from skep_shared.interrupt_page import INTERRUPT_SIGNAL, InterruptPage
from skep_shared.states import CellStatus
from skep_workers.session.asking import DEFAULT_DEADLINE_SECONDS, Asker
from skep_workers.session.attribution import install_thread_hook
from skep_workers.session.capture import STREAMS, CellStream, PipeReader, install_streams
from skep_workers.session.checkpoint.keeping import Keeper
from skep_workers.session.children import adopt_orphans
from skep_workers.session.company import Hooks, reason_to_stay
from skep_workers.session.control import (
    PROTOCOL_EXIT,
    START_FAILED_EXIT,
    Controls,
    ControlThread,
    leave_with_everyone,
)
from skep_workers.session.descriptors import Descriptors, arrange
from skep_workers.session.displays import DisplayPublisher, install_publisher
from skep_workers.session.engine import Engine
from skep_workers.session.inspection import Inspector
from skep_workers.session.interrupts import Interrupter
from skep_workers.session.ladder import DEFAULT_GRACE_SECONDS, Ladder
from skep_workers.session.link import DEFAULT_OUTPUT_LIMIT_BYTES, CellLink
from skep_workers.session.loop import SessionLoop
from skep_workers.session.operations import Operations
from skep_workers.session.prepared import Ending, Prepared
from skep_workers.session.renewal import renew
from skep_workers.session.shield import Shield
from skep_workers.session.sources import install_class_sources
from skep_workers.session.twinning import Given, Refused, fork, receive
from skep_workers.session.workspace_calls import WorkspaceCalls
from skep_workers.session.writer import Writer

RECEIVE_BYTES: Final = 256 * 1024
MAX_FAULT_CHARS: Final = 1000
CAPABILITIES: Final = ["interrupt", "inputs", "input", "operations", "display", "twin"]


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
        self._snapshot_socket = snapshot_socket
        self._page = interrupt_page
        self._flushed = flushed
        self._pid = os.getpid()
        self._decoder = FrameDecoder()
        self._queue: deque[Execute] = deque()
        self._withdrawn: set[Writer] = set()
        self._is_busy = False
        self._outside: Prepared | None = None
        self._is_leaving = False
        self._saving: asyncio.TimerHandle | None = None
        self._wanted_twins: deque[Twin] = deque()
        self._shield = shield = Shield()
        self._loop = SessionLoop(shield)
        self._link = CellLink(cell_socket, shield, flushed)
        self._reader = PipeReader(self._link, shield, *pipes)
        self._streams = [CellStream(name, fd, self._link, self._reader) for fd, name in enumerate(STREAMS, start=1)]
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
        self._handlers = handlers
        self._operations = Operations(handlers, self._control.answer)

    def run(self) -> None:
        """Serve until told to leave."""
        asyncio.set_event_loop(self._loop)
        self._say_hello()
        self._take_over_process()
        self._listen()
        try:
            self._serve()
        except Exception as failure:  # noqa: BLE001 - the process ends here
            self._fail(failure)
        self._link.send(*self._keeper.finish())
        self._engine.close()
        self._link.send()

    def _say_hello(self) -> None:
        self._link.send(Hello(PROTOCOL_VERSION, CAPABILITIES, self._pid, python_version()))

    def _listen(self) -> None:
        self._control.start(
            Controls(self._ladder, self._asker, self._operations, self._withdrawn.add, self._request_leave)
        )
        self._socket.setblocking(True)  # sends wait for the host; reads happen only when there is something
        self._loop.add_reader(self._socket.fileno(), self._receive)

    def rehearse(self, cells: Iterable[str]) -> None:
        """Run these cells one by one, each as the last one of a session, with nothing taken over; see rehearsal.py."""
        asyncio.set_event_loop(self._loop)
        self._configure({})
        self._is_leaving = True  # the loop stops when the cell has ended
        for seq, code in enumerate(cells, start=1):
            self._queue.append(Execute(seq, 1, "rehearsal", code, None, None))
            self._start_next()
            self._loop.run_forever()
            self._link.send(*self._keeper.after_cell(seq))

    def forget(self) -> None:
        """Close what a rehearsal has opened."""
        asyncio.SelectorEventLoop.close(self._loop)
        os.close(self._link.wake_fd)

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
            while self._wanted_twins:
                self._answer_twin(self._wanted_twins.popleft())

    def _take_over_process(self) -> None:
        install_thread_hook(self._link.close_short_way)
        install_class_sources()
        install_publisher(self._publisher)
        os.register_at_fork(after_in_child=self._link.become_forked_copy)
        os.register_at_fork(after_in_child=self._reader.become_forked_copy)
        self._install_names()

    def _install_names(self) -> None:
        """Put in place what user code finds, and may have replaced."""
        install_streams(self._streams)
        for name in ("display", "update_display", "clear_output"):
            setattr(sys.modules["builtins"], name, getattr(self._publisher, name))
        self._asker.install()
        self._interrupter.install()
        self._reader.watch()
        self._engine.install()
        self._keeper.install()
        self._files.install()
        self._hooks = Hooks()

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
                elif isinstance(frame, Twin):
                    self._wanted_twins.append(frame)
                    self._loop.stop()
                else:
                    raise ProtocolError(f"{type(frame).__name__} does not belong on the cell socket")
        except ProtocolError:
            os._exit(PROTOCOL_EXIT)
        self._start_next()

    def _start_next(self) -> None:
        while not self._is_busy and self._queue and not self._wanted_twins:
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

    # --- a fork of this process becomes another session's, see twinning.py ----------------------------------------

    def _answer_twin(self, wanted: Twin) -> None:
        """Fork, if nothing stands against it: this returns in both processes, and each goes on as its own session's."""
        given = None
        is_twin = False
        try:
            given = receive(self._snapshot_socket)
            if reason := self._reason_to_stay(wanted, given):
                raise Refused(reason)
            is_twin = fork(wanted.request, given, self._keeper, self._link)
        except (Refused, OSError, ValueError) as exc:
            self._link.send(Twinned(wanted.request, 0, str(exc)))
        if is_twin and given is not None:
            self._become_twin(given)
        elif given is not None:
            given.close()
        self._loop.call_soon(self._start_next)

    def _reason_to_stay(self, wanted: Twin, given: Given) -> str:
        if self._is_busy or self._queue or not self._operations.is_idle:
            return "it is at work"
        own = {sock.fileno() for sock in (self._socket, self._control.socket, self._snapshot_socket)}
        own |= {
            self._link.wake_fd,
            *self._reader.streams,
            *self._loop.descriptors,
            *self._keeper.descriptors,
            *given.all,
        }
        return self._keeper.reason_against(wanted.manifest) or reason_to_stay(self._loop, self._hooks, own)

    def _become_twin(self, given: Given) -> None:
        try:
            self._begin_as_twin(given)
        except BaseException:  # noqa: BLE001 - the process ends here; its last words go to its own stderr
            os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
            os._exit(START_FAILED_EXIT)

    def _begin_as_twin(self, given: Given) -> None:
        """Let go of what is the parent's, and make every part anew on ends of its own."""
        self._pid = os.getpid()
        os.setsid()
        for sock in (self._socket, self._control.socket, self._snapshot_socket):
            sock.close()
        for fd in (self._link.wake_fd, *self._reader.streams):
            os.close(fd)
        self._page.close()
        self._flushed.close()
        cells, controls, snapshots, out, err, page = arrange(given.own)
        os.fchdir(given.directory)
        for fd in (given.directory, given.adopted):
            os.close(fd)
        adopt_orphans()
        self._socket, self._snapshot_socket = socket.socket(fileno=cells), socket.socket(fileno=snapshots)
        self._flushed = FlushedText(page)
        self._page = InterruptPage(page)
        self._loop.renew()
        asyncio.set_event_loop(self._loop)
        renew(self._shield)
        renew(self._link, self._socket, self._shield, self._flushed)
        renew(self._reader, self._link, self._shield, out, err)
        for fd, (name, stream) in enumerate(zip(STREAMS, self._streams, strict=True), start=1):
            renew(stream, name, fd, self._link, self._reader)
        sys.unraisablehook = sys.__unraisablehook__  # the interrupter's comes before it
        renew(self._interrupter, self._loop, self._shield, self._page.read)
        renew(self._ladder, self._interrupter)
        renew(self._asker, self._link)
        renew(self._control, socket.socket(fileno=controls), self._link, self._reader)
        renew(self._operations, self._handlers, self._control.answer)
        directory = os.getcwd()  # noqa: PTH109 - compared as text
        self._engine.begin_as_twin()
        self._keeper.begin_as_twin(self._snapshot_socket, directory)
        self._files.begin_as_twin(directory)
        self._decoder = FrameDecoder()
        self._withdrawn.clear()
        self._wanted_twins.clear()
        self._saving = None
        self._hooks.drop_new_finalizers()
        sys.argv = [""]
        self._install_names()
        self._say_hello()
        self._listen()

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
