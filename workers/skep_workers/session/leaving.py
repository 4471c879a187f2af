"""The orderly end of a session process, on request of its host, between two cells.

1. The tasks, threads, child processes and connections that will end are reported to the host.
2. Open files are flushed, so that everything written to them is on disk.
3. The state is saved: names and files, as tasks and threads have changed them since the last cell.
4. Exit handlers run, see runtime/exit_handlers.py. If the session is over, its objects end too, so that `__del__` runs.
5. Open files are closed, and files that have changed since step 3 are saved again, with the names of step 3.

The names are saved before the handlers run: handlers close, clear and shut down objects that the session needs when it
continues elsewhere. The files are saved after the handlers too, since a program that ends in order also leaves on disk
what its handlers write.

Each step has a time limit. An exception cuts a longer step short, and the host is notified. Code that catches the
exception, or holds the GIL, ends when the host kills the process. A process that is killed does none of these steps.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from signal import (  # bound early: user code may patch signal
    ITIMER_REAL,
    SIG_DFL,
    SIG_SETMASK,
    SIG_UNBLOCK,
    SIGALRM,
    pthread_sigmask,
    setitimer,
    signal,
)
from types import FrameType
from typing import Any, Final

from skep_shared.originals import gc
from skep_shared.protocol.frames import Exiting, Frame, Leaving, Left, Shutdown
from skep_workers.session.checkpoint.checkpointer import Checkpointer
from skep_workers.session.output.link import CellLink
from skep_workers.session.runtime.activity import children_at_work, connections, tasks_at_work, threads_at_work
from skep_workers.session.runtime.exit_handlers import ExitHandlers
from skep_workers.session.runtime.loop import SessionLoop
from skep_workers.session.runtime.namespace import NamespaceManager
from skep_workers.session.runtime.open_files import close_files, flush_files, has_writable

FLUSH_SECONDS: Final = 2.0
EXIT_SECONDS: Final = 3.0
AGAIN_SECONDS: Final = 0.5  # after which the next slow handler is cut short


class LeaveTimeout(BaseException):
    """Cuts a step short that takes too long while the process ends."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the process is to leave, and this took longer than {seconds:g} s")


class ProcessExit:
    """The last steps of a session process. The main thread does all of them."""

    def __init__(
        self,
        loop: SessionLoop,
        link: CellLink,
        checkpointer: Checkpointer,
        namespace: NamespaceManager,
        drain: Callable[[], None],
        close_coroutines: Callable[[], None],
    ) -> None:
        """`drain` reads the pipes of descriptors 1 and 2; `close_coroutines` closes those that were never awaited."""
        self._loop = loop
        self._link = link
        self._checkpointer = checkpointer
        self._namespace = namespace
        self._drain = drain
        self._close_coroutines = close_coroutines
        self.handlers: Final = ExitHandlers()

    def leave(self, order: Shutdown, own: set[int]) -> None:
        """Do all steps; `own` are the descriptors of the engine."""
        ending = self._find_ending(own)
        self._link.send(ending)
        has_files = has_writable(own)
        if has_files:
            with self._within(FLUSH_SECONDS, "flushing files"):
                flush_files(self._attempt)
        if order.seq:
            self._save(self._checkpointer.save_last_state, order.seq)
        self._link.send(Exiting())
        saved = [] if order.is_over else self._checkpointer.saved_values()
        self.handlers.skip_finalizers_of(saved)
        for call in (self.handlers.run, self.handlers.finalize, self._end_logging, self._close_coroutines):
            with self._within(EXIT_SECONDS, "running exit handlers"):
                call()
        if order.is_over:
            for call in (self._end_objects, self.handlers.end_tracker):
                with self._within(EXIT_SECONDS, "ending the session's objects"):
                    call()
        # With threads left the files stay open: a thread that still writes would find its file closed.
        if (has_files or has_writable(own)) and not ending.threads:
            with self._within(FLUSH_SECONDS, "closing files"):
                close_files(self._attempt)
        if order.seq:
            self._save(self._checkpointer.save_last_files, order.seq)
        self._drain()
        self._link.send(Left(self.handlers.notes))

    def _find_ending(self, own: set[int]) -> Leaving:
        try:
            children = children_at_work(self._checkpointer.child_pid)
            return Leaving(tasks_at_work(self._loop), threads_at_work(), children, connections(own))
        except Exception as exc:  # noqa: BLE001 - user code may break tasks and threads; the exit continues
            self.handlers.record_problem("listing what ends", exc)
            return Leaving([], [], [], [])

    def _save(self, save: Callable[[int], list[Frame]], seq: int) -> None:
        try:
            self._link.send(*save(seq))
        except Exception as exc:  # noqa: BLE001 - the saved state is then that of the last cell
            self.handlers.record_problem("saving the last state", exc)

    def _end_logging(self) -> None:
        if "logging" in sys.modules:
            sys.modules["logging"].shutdown()

    def _end_objects(self) -> None:
        self._checkpointer.release_values()
        self._namespace.unbind_all_except(frozenset())
        gc.collect()

    def _attempt(self, call: Callable[[], Any]) -> None:
        with suppress(Exception, LeaveTimeout):  # the file may be closed, or full, or a pipe without a reader
            call()

    @contextmanager
    def _within(self, seconds: float, doing: str) -> Iterator[None]:
        """Raise LeaveTimeout in the block after `seconds`, and every AGAIN_SECONDS after that."""
        is_armed = True

        def cut_short(_number: int, _frame: FrameType | None) -> None:
            if is_armed:
                raise LeaveTimeout(seconds)

        # Both are restored below: the handler and the signal mask are part of the state that is saved after this.
        handler, blocked = signal(SIGALRM, cut_short), pthread_sigmask(SIG_UNBLOCK, {SIGALRM})
        try:
            setitimer(ITIMER_REAL, seconds, AGAIN_SECONDS)
            yield
        except BaseException as exc:  # noqa: BLE001 - the process ends; errors of user code are reported
            self.handlers.record_problem(doing, exc)
        finally:
            is_armed = False
            setitimer(ITIMER_REAL, 0)
            signal(SIGALRM, SIG_DFL if handler is None else handler)
            pthread_sigmask(SIG_SETMASK, blocked)
