"""A session process from fork to exit: it receives frames on its cell socket, and runs the cells in their order.

The main thread runs the event loop, and leaves it to run a cell that doesn't await. Between cells it reads the cell
socket itself; frames that arrive while a cell runs wait in a queue. The loop is never closed and never replaced,
whatever user code does to it.
"""

import asyncio
import contextlib
import errno
import faulthandler
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from platform import python_version
from traceback import print_exception  # bound early: user code may patch traceback
from typing import Any, Final, NoReturn

from skep_shared.errors import ProtocolError
from skep_shared.originals import os, signal, socket
from skep_shared.protocol.frame_codec import PROTOCOL_VERSION, encode_frame
from skep_shared.protocol.frames import Blob, Configure, Execute, Expect, Fault, Frame, Hello, Restore, Shutdown, Twin
from skep_shared.protocol.interrupt_page import INTERRUPT_SIGNAL
from skep_shared.protocol.orphans import adopt_orphans
from skep_shared.states import CellStatus
from skep_workers.session.attribution.writer import Writer
from skep_workers.session.control.receiving import Receiver
from skep_workers.session.control.thread import CLOSED_EXIT, PROTOCOL_EXIT
from skep_workers.session.errors.tracebacks import is_raised_by_user
from skep_workers.session.execution.cell_queue import CellQueue
from skep_workers.session.execution.prepared import Ending, Prepared
from skep_workers.session.execution.stray_exceptions import StrayLimit, show_stray
from skep_workers.session.safeguards.descriptors import Descriptors, replace
from skep_workers.session.safeguards.sandbox import Sandbox
from skep_workers.session.twin_answers import TwinAnswers
from skep_workers.session.wiring import SessionParts

MAX_FAULT_CHARS: Final = 1000
CAPABILITIES: Final = ["interrupt", "inputs", "input", "operations", "display", "twin"]


class SessionMain:
    """The main thread's work. The zygote makes it, and a fork of the zygote runs it."""

    def __init__(self, environment: str, sandbox: Sandbox | None = None) -> None:
        """`environment`: of the worker's sessions. sandbox: what the session process will be restricted to."""
        self._parts = parts = SessionParts(self._on_snapshot_done, environment, sandbox)
        self._loop, self._link = parts.loop, parts.link
        self._engine, self._checkpointer, self._hold = parts.engine, parts.checkpointer, parts.hold
        self._pid = os.getpid()
        self._receiver = Receiver(parts.ends.cells, self._checkpointer.restorer.chunk_destination)
        self._queue = CellQueue()
        self._is_busy = False
        self._outside: Prepared | None = None  # the cell to run as soon as the loop has stopped
        self._is_leaving = False
        self._order = Shutdown()  # how the process is to end
        self._saving: asyncio.TimerHandle | None = None
        self._twins = TwinAnswers(parts, self._is_at_work, self._begin_as_twin)
        self._stray_limit = StrayLimit()

    def prepare(self) -> None:
        """Do in the zygote what need not be done in each session process."""
        self._parts.prepare()

    def run(
        self, descriptors: Descriptors, directory: str, private: str, network: Sequence[Any] = (), supply: int = -1
    ) -> None:
        """Turn a fresh fork of the zygote into a session process; return when the session has ended.

        `private`, `network`, `supply`: see `SessionParts.begin`.
        """
        signal.signal(INTERRUPT_SIGNAL, signal.SIG_IGN)  # it could arrive before its handler is set, and would kill
        os.setsid()  # a process group, so that the host can kill all of it
        adopt_orphans()
        self._pid = os.getpid()
        sys.path.insert(0, "")
        sys.argv[:] = [""]  # in place: `from sys import argv` may have happened
        self._parts.begin(descriptors, directory, private, network, supply)
        faulthandler.enable(file=2, all_threads=False)
        asyncio.set_event_loop(self._loop)
        self._send_hello()
        self._parts.take_over_process()
        self._listen()
        try:
            self._serve()
        except Exception as failure:  # noqa: BLE001 - the process ends here
            self._fail(failure)
        self._parts.leave(self._order)

    def _send_hello(self) -> None:
        self._link.send(Hello(PROTOCOL_VERSION, CAPABILITIES, self._pid, python_version()))

    def _listen(self) -> None:
        self._parts.listen(self._queue.withdraw, self._request_leave)
        self._receive_when_readable()

    def _receive_when_readable(self) -> None:
        sock = self._parts.ends.cells
        sock.setblocking(True)  # sends wait for the host; a read happens only when there is something to read
        self._loop.add_reader(sock.fileno(), self._receive)

    def rehearse(self, cells: Iterable[str], host: socket.socket, sockets: Iterable[socket.socket]) -> None:
        """Begin as a session does and run these cells, each as the last one, without taking over the process.

        `sockets` are those for cells, control and snapshots; `host` is the other end of the first. See warmup.py.
        """
        ends = self._parts.ends
        for place, sock in zip((ends.cells, ends.control, ends.snapshots), sockets, strict=True):
            replace(place.fileno(), sock.detach())
        asyncio.set_event_loop(self._loop)
        self._parts.rehearse()
        self._send_hello()
        self._receive_when_readable()
        self._is_leaving = True  # the loop stops when the cell has ended
        host.sendall(encode_frame(Configure({})))
        for seq, code in enumerate(cells, start=1):
            host.sendall(encode_frame(Execute(seq, 1, "rehearsal", code, None, None)))
            self._loop.run_forever()
            if (prepared := self._outside) is not None:
                self._outside = None
                self._engine.run_outside(prepared)
                self._on_cell_done()
                self._loop.run_forever()
            self._link.send(*self._checkpointer.after_cell(seq))

    def close_rehearsal(self) -> None:
        """Close what a rehearsal has opened."""
        self._parts.close()

    def _serve(self) -> None:
        while not self._is_leaving:
            self._hold.release_safely(self._pass_on)
            # A task that user code left running may raise KeyboardInterrupt or SystemExit through the loop, and user
            # code may stop the loop. Neither ends the session.
            try:
                with contextlib.suppress(KeyboardInterrupt, SystemExit):
                    self._loop.run_forever()
            except Exception as exc:
                if not is_raised_by_user(exc) or not self._stray_limit.allows_another():
                    raise
                self._pass_on(exc)
            self._hold.block()
            prepared, self._outside = self._outside, None
            if prepared is not None:
                self._engine.run_outside(prepared)
                self._on_cell_done()
                if not self._is_leaving:
                    self._start_next()
            if self._twins.wanted:
                self._twins.answer_all()
                self._loop.call_soon(self._start_next)

    def _pass_on(self, exc: BaseException) -> None:
        """Raise an exception that no cell's own code has caught in the cell that awaits; show it if no cell does."""
        if not self._engine.strays.cancel_awaiting(exc):
            show_stray(exc)

    def _receive(self) -> None:
        self._hold.block()
        try:
            self._receive_frames()
        except Exception as failure:  # noqa: BLE001 - the process ends here; the loop would only log it and continue
            self._fail(failure)
        finally:
            self._hold.release_safely(self._pass_on)

    def _receive_frames(self) -> None:
        try:
            for frame in self._receiver.receive():
                self._receive_frame(frame)
        except ProtocolError:
            os._exit(PROTOCOL_EXIT)
        self._start_next()

    def _receive_frame(self, frame: Frame) -> None:
        if isinstance(frame, Configure):
            self._parts.configure(frame.options)
        elif isinstance(frame, Blob):
            self._checkpointer.restorer.receive_chunk(frame)
        elif isinstance(frame, Expect):
            self._checkpointer.restorer.prepare_chunks(frame)
        elif isinstance(frame, Restore):
            restored, future_flags = self._checkpointer.restorer.restore(frame)
            self._engine.set_future_flags(future_flags)
            self._engine.namespace.adopt_restored_results()
            self._link.send(restored)
        elif isinstance(frame, Execute):
            self._queue.cells.append(frame)
        elif isinstance(frame, Twin):
            self._twins.wanted.append(frame)
            self._loop.stop()
        else:
            raise ProtocolError(f"{type(frame).__name__} does not belong on the cell socket")

    def _start_next(self) -> None:
        while not self._is_busy and self._queue.cells and not self._twins.wanted:
            self._is_busy = True
            self._parts.catch_up()
            cell = self._queue.cells.popleft()
            self._parts.reader.drain()  # what was written before this belongs to the previous cell
            self._parts.ends.page.record_begin(cell.seq)
            self._link.running = writer = Writer(cell.seq, cell.attempt)
            if self._queue.remove_withdrawal(writer):
                ending = Ending(CellStatus.CANCELLED)
                self._engine.finish_unstarted(Prepared(cell, writer, 0, ending=ending), ending)
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
                self._engine.spawn(prepared, partial(self._on_task_done, prepared))

    def _on_task_done(self, prepared: Prepared, task: asyncio.Task[None]) -> None:
        self._hold.block()
        try:
            self._continue_after(prepared, task)
        except Exception as failure:  # noqa: BLE001 - as above
            self._fail(failure)
        finally:
            self._hold.release_safely(self._pass_on)

    def _continue_after(self, prepared: Prepared, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self._engine.finish_cancelled(prepared)
        elif (failure := task.exception()) is not None:
            self._fail(failure)
        self._on_cell_done()
        if not self._is_leaving:
            self._start_next()  # other tasks have had their turn: this callback was scheduled after them

    def _on_cell_done(self) -> None:
        if os.getpid() != self._pid:
            os._exit(0)  # a child that user code forked has returned into the engine: it is no session
        self._is_busy = False
        if self._is_leaving:
            self._loop.stop()
        else:
            self._save_if_wanted()

    def _on_snapshot_done(self) -> None:
        self._loop.call_soon_threadsafe(self._save_if_wanted)

    def _save_if_wanted(self) -> None:
        if not self._is_busy:
            was_held = self._hold.is_held
            self._hold.block()
            try:
                frames = self._checkpointer.when_idle()
            except Exception as failure:  # noqa: BLE001 - the process ends here; the loop would only log it
                self._fail(failure)
            if frames:
                self._link.send(*frames)
            elif self._checkpointer.is_due_later and self._saving is None:
                self._saving = self._loop.call_later(self._checkpointer.seconds_to_wait, self._save_now)
            if not was_held:
                self._hold.release_safely(self._pass_on)

    def _save_now(self) -> None:
        self._saving = None
        self._save_if_wanted()

    def _fail(self, failure: BaseException) -> NoReturn:
        """End the process because the engine itself has failed. The host reports a crash, with this as its reason."""
        status = PROTOCOL_EXIT
        try:
            with contextlib.suppress(Exception):
                print_exception(failure, file=sys.__stderr__)
            self._link.send(Fault(f"{type(failure).__name__}: {failure}"[:MAX_FAULT_CHARS]))
        except OSError as exc:
            if exc.errno in {errno.EBADF, errno.ENOTSOCK}:
                status = CLOSED_EXIT  # user code has closed our descriptors
        finally:
            os._exit(status)

    def _is_at_work(self) -> bool:
        return self._is_busy or bool(self._queue.cells)

    def _begin_as_twin(self) -> None:
        """Continue as the process of another session, which has sent nothing yet."""
        self._pid = os.getpid()
        self._receiver = Receiver(self._parts.ends.cells, self._checkpointer.restorer.chunk_destination)
        self._queue.begin_as_twin()
        self._saving = None
        self._send_hello()
        self._listen()

    def _request_leave(self, order: Shutdown) -> None:
        self._loop.call_soon_threadsafe(self._leave, order)

    def _leave(self, order: Shutdown) -> None:
        self._order = order
        self._is_leaving = True
        if not self._is_busy:
            self._loop.stop()
