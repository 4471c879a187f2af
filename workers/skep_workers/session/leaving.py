"""How a session process leaves: asked by its host, between two cells. A process that is killed does none of it.

1. The host is told which tasks, threads, child processes and connections end.
2. Open files are flushed, so that what was written to them is in the files.
3. The state is saved: names and files, as tasks and threads have left them since the last cell.
4. Exit handlers run, see exits.py. If the session is over, its objects end too, so that `__del__` runs.
5. Open files are closed, and files that have changed since 3 are saved once more, beside the names of 3.

The names are saved before the handlers run, since a handler takes apart what the session goes on with elsewhere: it
closes, clears, shuts down. The files are saved after them too, since what a handler writes is what a program that ended
in order leaves on disk.

Each step has its time. What takes longer is cut short by an exception, and the host is told; code that catches that, or
holds the GIL, ends when the host's patience does.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from signal import (  # see loop.py
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

from skep_shared.frames import Exiting, Frame, Leaving, Left, Shutdown
from skep_shared.originals import gc
from skep_workers.session.activity import children_at_work, connections, tasks_at_work, threads_at_work
from skep_workers.session.checkpoint.checkpointer import Keeper
from skep_workers.session.exits import ExitHandlers
from skep_workers.session.link import CellLink
from skep_workers.session.loop import SessionLoop
from skep_workers.session.namespace import NamespaceManager
from skep_workers.session.open_files import close_files, flush_files, has_writable

FLUSH_SECONDS: Final = 2.0
EXIT_SECONDS: Final = 3.0
AGAIN_SECONDS: Final = 0.5  # then the next handler that takes long is cut short


class LeaveTimeout(BaseException):
    """Cuts short what takes too long while the process leaves."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the process is to leave, and this took longer than {seconds:g} s")


class LeaveTaking:
    """The last things that a session process does. Everything here is called by the main thread."""

    def __init__(
        self,
        loop: SessionLoop,
        link: CellLink,
        keeper: Keeper,
        namespace: NamespaceManager,
        drain: Callable[[], None],
        close: Callable[[], None],
    ) -> None:
        """`drain` takes what was written to the pipes of 1 and 2; `close` closes what cells have left unawaited."""
        self._loop = loop
        self._link = link
        self._keeper = keeper
        self._namespace = namespace
        self._drain = drain
        self._close = close
        self.exits: Final = ExitHandlers()

    def leave(self, order: Shutdown, own: set[int]) -> None:
        """Do all of it; `own` are the descriptors of the engine."""
        ending = self._look(own)
        self._link.send(ending)
        has_files = has_writable(own)
        if has_files:
            with self._within(FLUSH_SECONDS, "flushing files"):
                flush_files(self._attempt)
        if order.seq:
            self._save(self._keeper.leave, order.seq)
        self._link.send(Exiting())
        saved = [] if order.is_over else self._keeper.saved_values()
        self.exits.spare(saved)
        for call in (self.exits.run, self.exits.finalize, self._end_logging, self._close):
            with self._within(EXIT_SECONDS, "running exit handlers"):
                call()
        if order.is_over:
            for call in (self._end_objects, self.exits.end_tracker):
                with self._within(EXIT_SECONDS, "ending the session's objects"):
                    call()
        # A thread that still writes would only meet a closed file.
        if (has_files or has_writable(own)) and not ending.threads:
            with self._within(FLUSH_SECONDS, "closing files"):
                close_files(self._attempt)
        if order.seq:
            self._save(self._keeper.leave_files, order.seq)
        self._drain()
        self._link.send(Left(self.exits.notes))

    def _look(self, own: set[int]) -> Leaving:
        try:
            children = children_at_work(self._keeper.child_pid)
            return Leaving(tasks_at_work(self._loop), threads_at_work(), children, connections(own))
        except Exception as exc:  # noqa: BLE001 - user code has a hand in tasks and threads; the leave goes on
            self.exits.note("looking for what ends", exc)
            return Leaving([], [], [], [])

    def _save(self, save: Callable[[int], list[Frame]], seq: int) -> None:
        try:
            self._link.send(*save(seq))
        except Exception as exc:  # noqa: BLE001 - what is saved is then the state after the last cell
            self.exits.note("saving the last state", exc)

    def _end_logging(self) -> None:
        if "logging" in sys.modules:
            sys.modules["logging"].shutdown()

    def _end_objects(self) -> None:
        self._keeper.let_go()
        self._namespace.let_go(frozenset())
        gc.collect()

    def _attempt(self, call: Callable[[], Any]) -> None:
        with suppress(Exception, LeaveTimeout):  # it may be closed, full, or a pipe that no one reads
            call()

    @contextmanager
    def _within(self, seconds: float, doing: str) -> Iterator[None]:
        """Cut short what takes so long in the block, and after that what the block goes on with."""
        is_armed = True

        def cut_short(_number: int, _frame: FrameType | None) -> None:
            if is_armed:
                raise LeaveTimeout(seconds)

        # Handlers, and what is blocked, are part of the state that is saved after this.
        handler, blocked = signal(SIGALRM, cut_short), pthread_sigmask(SIG_UNBLOCK, {SIGALRM})
        try:
            setitimer(ITIMER_REAL, seconds, AGAIN_SECONDS)
            yield
        except BaseException as exc:  # noqa: BLE001 - the process ends; what user code raised is reported
            self.exits.note(doing, exc)
        finally:
            is_armed = False
            setitimer(ITIMER_REAL, 0)
            signal(SIGALRM, SIG_DFL if handler is None else handler)
            pthread_sigmask(SIG_SETMASK, blocked)
