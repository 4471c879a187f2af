"""A session process from fork to exit: what comes on its cell socket, and the order in which cells run.

The main thread lives in the event loop and leaves it only to run a blocking cell. Between cells it reads the cell
socket itself; frames that come while a cell runs wait in a queue. The loop is never closed and never replaced, whatever
user code does to it.
"""

import asyncio
import contextlib
import errno
import faulthandler
import sys
from collections import deque
from collections.abc import Iterable
from functools import partial
from platform import python_version
from traceback import format_exc, print_exception  # bound early: user code may patch traceback
from typing import Final, NoReturn

from skep_shared.errors import ProtocolError
from skep_shared.frame_codec import PROTOCOL_VERSION
from skep_shared.frames import Blob, Configure, Execute, Expect, Fault, Hello, Restore, Shutdown, Twin, Twinned
from skep_shared.interrupt_page import INTERRUPT_SIGNAL
from skep_shared.originals import os, signal, socket
from skep_shared.orphans import adopt_orphans
from skep_shared.states import CellStatus
from skep_workers.session.clock import monotonic
from skep_workers.session.control import CLOSED_EXIT, PROTOCOL_EXIT, START_FAILED_EXIT
from skep_workers.session.descriptors import Descriptors, replace
from skep_workers.session.parts import Parts
from skep_workers.session.prepared import Ending, Prepared
from skep_workers.session.receiving import Receiver
from skep_workers.session.tracebacks import describe_exception, is_raised_by_user
from skep_workers.session.twinning import Given, Refused, fork, receive
from skep_workers.session.writer import Writer

MAX_FAULT_CHARS: Final = 1000
MOST_STRAYS: Final = 100
STRAYS_SECONDS: Final = 1.0
CAPABILITIES: Final = ["interrupt", "inputs", "input", "operations", "display", "twin"]


class SessionMain:
    """The main thread's work. It is made in the zygote, and begins in a fork of that."""

    def __init__(self) -> None:
        self._parts = parts = Parts(self._on_snapshot_done)
        self._loop, self._link, self._reader = parts.loop, parts.link, parts.reader
        self._engine, self._keeper, self._hold = parts.engine, parts.keeper, parts.hold
        self._socket = parts.ends.cells
        self._pid = os.getpid()
        self._receiver = Receiver(self._socket, self._keeper.place)
        self._queue: deque[Execute] = deque()
        self._withdrawn: set[Writer] = set()
        self._is_busy = False
        self._outside: Prepared | None = None
        self._is_leaving = False
        self._order = Shutdown()
        self._saving: asyncio.TimerHandle | None = None
        self._wanted_twins: deque[Twin] = deque()
        self._strays: deque[float] = deque()  # when signals' handlers have raised something in the loop

    def prepare(self) -> None:
        """Do, in the zygote, what need not be done in each session process."""
        self._parts.prepare()

    def run(self, descriptors: Descriptors, directory: str) -> None:
        """Turn a fresh fork of the zygote into a session process; returns when the session has ended."""
        signal.signal(INTERRUPT_SIGNAL, signal.SIG_IGN)  # it could come before its handler is there, and would kill
        os.setsid()  # a process group of its own, so that all of it can be killed
        adopt_orphans()
        self._pid = os.getpid()
        sys.path.insert(0, "")
        sys.argv[:] = [""]  # in place: `from sys import argv` may have happened
        self._parts.begin(descriptors, directory)
        faulthandler.enable(file=2, all_threads=False)
        asyncio.set_event_loop(self._loop)
        self._say_hello()
        self._parts.take_over_process()
        self._listen()
        try:
            self._serve()
        except Exception as failure:  # noqa: BLE001 - the process ends here
            self._fail(failure)
        self._parts.leave(self._order)

    def _say_hello(self) -> None:
        self._link.send(Hello(PROTOCOL_VERSION, CAPABILITIES, self._pid, python_version()))

    def _listen(self) -> None:
        self._parts.listen(self._withdrawn.add, self._request_leave)
        self._socket.setblocking(True)  # sends wait for the host; reads happen only when there is something
        self._loop.add_reader(self._socket.fileno(), self._receive)

    def rehearse(self, cells: Iterable[str], sockets: Iterable[socket.socket]) -> None:
        """Run these cells one by one, each as the last one of a session, with nothing taken over; see rehearsal.py.

        sockets: for cells, control and snapshots.
        """
        ends = self._parts.ends
        for place, sock in zip((ends.cells, ends.control, ends.snapshots), sockets, strict=True):
            replace(place.fileno(), sock.detach())
        asyncio.set_event_loop(self._loop)
        self._parts.configure({})
        self._keeper.prepare()
        self._is_leaving = True  # the loop stops when the cell has ended
        for seq, code in enumerate(cells, start=1):
            self._queue.append(Execute(seq, 1, "rehearsal", code, None, None))
            self._start_next()
            self._loop.run_forever()
            self._link.send(*self._keeper.after_cell(seq))

    def forget(self) -> None:
        """Close what a rehearsal has opened."""
        self._parts.forget()

    def _serve(self) -> None:
        while not self._is_leaving:
            self._hold.release_safely(self._tell_stray)
            # A task that user code left running may raise KeyboardInterrupt or SystemExit through the loop, and user
            # code may stop it: neither ends the session.
            try:
                with contextlib.suppress(KeyboardInterrupt, SystemExit):
                    self._loop.run_forever()
            except Exception as exc:
                if not is_raised_by_user(exc) or not self._may_go_on():
                    raise
                self._tell_stray(exc)
            self._hold.take()
            prepared, self._outside = self._outside, None
            if prepared is not None:
                self._engine.run_outside(prepared)
                self._on_cell_done()
                if not self._is_leaving:
                    self._start_next()
            while self._wanted_twins:
                self._answer_twin(self._wanted_twins.popleft())

    def _may_go_on(self) -> bool:
        """Tell whether user code raises no more in the loop than signals' handlers may: else the loop is broken."""
        now = monotonic()
        self._strays = deque((at for at in self._strays if now - at < STRAYS_SECONDS), maxlen=MOST_STRAYS)
        self._strays.append(now)
        return len(self._strays) < MOST_STRAYS

    def _tell_stray(self, exc: BaseException) -> None:
        """Have the cell that awaits fail by it; where none does, show it as Python shows what it can't raise."""
        if not self._engine.take_stray(exc):
            with contextlib.suppress(Exception):
                print(describe_exception(exc)[2], file=sys.stderr, end="")

    def _receive(self) -> None:
        self._hold.take()
        try:
            self._receive_frames()
        except Exception as failure:  # noqa: BLE001 - the process ends here; the loop would only log it, and wait
            self._fail(failure)
        finally:
            self._hold.release_safely(self._tell_stray)

    def _receive_frames(self) -> None:
        try:
            for frame in self._receiver.receive():
                if isinstance(frame, Configure):
                    self._parts.configure(frame.options)
                elif isinstance(frame, Blob):
                    self._keeper.put(frame)
                elif isinstance(frame, Expect):
                    self._keeper.expect(frame)
                elif isinstance(frame, Restore):
                    restored, self._engine.future_flags = self._keeper.restore(frame)
                    self._engine.namespace.take_results()
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
            self._parts.catch_up()
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
                self._engine.spawn(prepared, partial(self._on_task_done, prepared))

    def _on_task_done(self, prepared: Prepared, task: asyncio.Task[None]) -> None:
        self._hold.take()
        try:
            self._go_on_after(prepared, task)
        except Exception as failure:  # noqa: BLE001 - as above
            self._fail(failure)
        finally:
            self._hold.release_safely(self._tell_stray)

    def _go_on_after(self, prepared: Prepared, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self._engine.finish_cancelled(prepared)
        elif (failure := task.exception()) is not None:
            self._fail(failure)
        self._on_cell_done()
        if not self._is_leaving:
            self._start_next()  # others had their turn: this was scheduled behind them

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
            was_held = self._hold.is_held
            self._hold.take()
            try:
                frames = self._keeper.when_idle()
            except Exception as failure:  # noqa: BLE001 - the process ends here; the loop would only log it
                self._fail(failure)
            if frames:
                self._link.send(*frames)
            elif self._keeper.is_due_later and self._saving is None:
                self._saving = self._loop.call_later(self._keeper.seconds_to_wait, self._save_now)
            if not was_held:
                self._hold.release_safely(self._tell_stray)

    def _save_now(self) -> None:
        self._saving = None
        self._save_if_wanted()

    def _fail(self, failure: BaseException) -> NoReturn:
        """End the process: the engine itself has failed. The host reports a crash, with this as its last words."""
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

    # --- a fork of this process becomes another session's, see twinning.py ----------------------------------------

    def _answer_twin(self, wanted: Twin) -> None:
        """Fork, if nothing stands against it: this returns in both processes, and each goes on as its own session's."""
        given = None
        is_twin = False
        try:
            given = receive(self._parts.ends.snapshots)
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
        if self._is_busy or self._queue or not self._parts.operations.is_idle:
            return "it is at work"
        return self._parts.reason_to_stay(wanted.manifest, given)

    def _become_twin(self, given: Given) -> None:
        try:
            self._begin_as_twin(given)
        except BaseException:  # noqa: BLE001 - the process ends here; its last words go to its own stderr
            os.write(2, format_exc().encode("utf-8", "backslashreplace"))
            os._exit(START_FAILED_EXIT)

    def _begin_as_twin(self, given: Given) -> None:
        """Go on as the process of another session, of which nothing has come yet."""
        self._pid = os.getpid()
        self._parts.begin_as_twin(given)
        self._socket = self._parts.ends.cells
        self._receiver = Receiver(self._socket, self._keeper.place)
        self._withdrawn.clear()
        self._wanted_twins.clear()
        self._saving = None
        self._say_hello()
        self._listen()

    def _request_leave(self, order: Shutdown) -> None:
        self._loop.call_soon_threadsafe(self._leave, order)

    def _leave(self, order: Shutdown) -> None:
        self._order = order
        self._is_leaving = True
        if not self._is_busy:
            self._loop.stop()
