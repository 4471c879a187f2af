"""Ending the running cell from outside: the exception must reach user code, and only user code.

A request names a cell's seq and attempt; one that comes late finds another cell, or none, and does nothing. It comes
twice: the worker signals the main thread, which gets through where the control thread waits for the GIL, and sends a
frame, which the control thread reads (`ladder` says what that does with it). The handlers here run in the main thread
and decide: code that runs gets KeyboardInterrupt where it stands, a cell that awaits has its task cancelled.

A handler may run between any two calls of the main thread, so the exception is raised in a cell's own code only. Raised
in asyncio's, before or behind the code of a task, it would be the loop's, and that task would never be scheduled again;
raised in the engine's, it would cut short what has to be done. What can't be raised now waits, in the shield or as a
callback of the loop.
"""

import asyncio
import sys
from _signal import getsignal  # type: ignore[import-not-found]  # signal's own makes an enum of it, at 30 times the price
from asyncio import _get_running_loop, current_task  # bound early: user code may patch asyncio
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from threading import Condition, get_ident  # bound early: user code may patch threading
from types import FrameType
from typing import Any, Final, NamedTuple

from skep_shared.interrupt_page import INTERRUPT_SIGNAL
from skep_shared.originals import signal
from skep_workers.session.clock import monotonic
from skep_workers.session.loop import SessionLoop
from skep_workers.session.shield import Shield
from skep_workers.session.tracer import Tracer
from skep_workers.session.writer import NOBODY, Writer, current_writer

HARD_SIGNAL: Final = signal.SIGRTMIN + 6
HELD_UP_SECONDS: Final = 0.05
# Cut short, these leave a lock behind, or an error about one in its place; queues, events and futures are made of them.
_NOT_HERE: Final = {
    getattr(Condition, name).__code__ for name in ("__enter__", "__exit__", "_acquire_restore", "_release_save")
}
_NOBODYS_CODE: Final = (str(Path(asyncio.__file__).parent) + "/", str(Path(__file__).parent) + "/")


class Reason(StrEnum):
    """Why a cell is to end."""

    INTERRUPT = "interrupt"
    TIMEOUT = "timeout"


class RunningCell(NamedTuple):
    """The cell that runs, in `task` or (None) outside of the loop; times are of the monotonic clock."""

    cell: Writer
    task: asyncio.Task[None] | None
    started_at: float
    times_out_at: float | None


class Interrupter:
    """Knows which cell is in user code now, and interrupts it.

    All of it belongs to the main thread but for `requested` and `insisted_on`, which the control thread writes. It
    reads the rest; each attribute is written in one piece.
    """

    def __init__(self, loop: SessionLoop, shield: Shield, wanted: Callable[[], tuple[int, int]]) -> None:
        """`wanted` gives seq and attempt of the cell that the worker's signal is about."""
        self._wanted = wanted
        self._main_thread: Final = get_ident()
        self._loop = loop
        self._shield = shield
        self.requested: Final[dict[Writer, Reason]] = {}
        self.insisted_on: Writer | None = None  # the second step is due for this cell
        self.running: RunningCell | None = None
        self.ended_seq = 0
        self.delivered = NOBODY
        # The engine sets it itself when user code has ended: a call could be cut short at its first instruction.
        self.is_in_user_code = False
        self._asked_to_turn_at: float | None = None
        self._unraisable_hook: Callable[[Any], object] = sys.unraisablehook
        self._tracer = Tracer(self._is_traced)

    def install(self) -> None:
        """Take SIGINT and the signals of our own."""
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(INTERRUPT_SIGNAL, self._on_workers_signal)
        signal.signal(HARD_SIGNAL, self._on_hard_signal)
        self._unraisable_hook = sys.unraisablehook
        sys.unraisablehook = self._on_unraisable

    def start(self, cell: Writer, task: asyncio.Task[None] | None, timeout_seconds: float | None) -> None:
        """This cell runs from now on; its time starts."""
        now = monotonic()
        self.running = RunningCell(cell, task, now, now + timeout_seconds if timeout_seconds is not None else None)

    def enter(self) -> None:
        """User code starts; raises KeyboardInterrupt if it was to end before."""
        self.is_in_user_code = True
        running = self.running
        if running is not None and self.reason(running.cell) is not None:
            self.delivered = running.cell
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise the KeyboardInterrupt that has not come through yet: os.system, for one, ignores SIGINT meanwhile."""
        if self.running is not None and self.delivered != self.running.cell and self.has_sigint:
            self.enter()

    def reason(self, cell: Writer) -> Reason | None:
        """Give the reason why the cell was asked to end, if it was."""
        return self.requested.get(cell) or (Reason.INTERRUPT if self._wanted() == cell else None)

    def forget(self, cell: Writer) -> None:
        """This cell has ended: what is asked of it, or of an earlier one, comes late."""
        self.running = None
        self.ended_seq = max(self.ended_seq, cell.seq)

    @property
    def has_sigint(self) -> bool:
        """Tell whether SIGINT is ours; a handler of the user's own decides for itself what it means."""
        return bool(getsignal(signal.SIGINT) == self._on_signal)

    def _on_unraisable(self, lost: Any, /) -> None:
        """Hear that a finalizer, or a weak reference's callback, has raised: Python drops what is raised there.

        A cell's KeyboardInterrupt that is lost so has not been delivered, and the control thread soon signals again.
        """
        running = self.running
        is_ours = running is not None and self.reason(running.cell) is not None and get_ident() == self._main_thread
        if is_ours and lost.exc_type is KeyboardInterrupt:
            self.delivered = NOBODY
        else:
            self._unraisable_hook(lost)

    def _on_signal(self, _number: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code in _NOT_HERE:
            return  # not heard yet; the control thread soon signals again, and is heard
        if not self._shield.defer(self._deliver):
            self._deliver()

    def _on_workers_signal(self, number: int, frame: FrameType | None) -> None:
        # A SIGINT handler of the user's own is called once, by the SIGINT that follows.
        if self.has_sigint:
            self._on_signal(number, frame)

    def _on_hard_signal(self, number: int, frame: FrameType | None) -> None:
        if self._shield.defer(lambda: self._on_hard_signal(number, None)):
            return
        if self.insisted_on is not None and self.insisted_on.seq > self.ended_seq:
            self._insist(self.insisted_on, frame)
        else:
            self._deliver(insists=True)  # it was not heard as SIGINT

    def _deliver(self, *, insists: bool = False) -> None:
        """Interrupt the cell, once: one request comes as several signals."""
        running = self.running
        if running is None or not self.is_in_user_code or self.delivered == running.cell:
            return
        if self.reason(running.cell) is None:
            return
        if self._is_in_own_code(running):
            self.delivered = running.cell
            raise KeyboardInterrupt
        self._have_loop_end(running)
        if insists and self._is_in_made_code(running):
            raise KeyboardInterrupt  # the loop didn't get round to end the cell; now it will

    def _insist(self, cell: Writer, frame: FrameType | None) -> None:
        """Take the second step: past code that catches what is raised, and past what holds the loop up."""
        running = self.running
        if running is not None and running.cell == cell and self.is_in_user_code:
            self._tracer.install(frame, running.task.get_coro() if running.task is not None else None)
            if self._is_in_own_code(running):
                raise KeyboardInterrupt  # it will be caught, but it ends a blocking call, behind which the tracer waits
            self.delivered = NOBODY
            self._have_loop_end(running)
            if self._is_in_made_code(running):
                raise KeyboardInterrupt
        if _get_running_loop() is self._loop and self._is_held_up() and self._is_in_users_code(frame):
            raise KeyboardInterrupt  # a background task, or a callback, that the cell waits for

    def _is_in_own_code(self, running: RunningCell) -> bool:
        """Tell whether what is raised now is raised in the code that was submitted."""
        loop = _get_running_loop()
        if loop is None:
            return True
        stepped = current_task(loop)
        if stepped is None or not _is_in_its_code(stepped):
            return False
        # In asyncio.run or its like nothing but the cell's own code runs.
        return loop is not self._loop or stepped is (running.task or loop.awaited)

    def _is_in_made_code(self, running: RunningCell) -> bool:
        """Tell whether what is raised now is raised in a task or a callback which the cell made."""
        loop = _get_running_loop()
        stepped = current_task(loop)
        if stepped is not None and not _is_in_its_code(stepped):
            return False
        return loop is not self._loop or current_writer.get() == running.cell

    def _have_loop_end(self, running: RunningCell) -> None:
        """Have the loop that runs end the cell; it may be asleep in its selector, which only a write ends."""
        loop = _get_running_loop()
        own: asyncio.Future[Any] | None = (running.task or self._loop.awaited) if loop is self._loop else None
        if loop is not None:
            loop.call_soon_threadsafe(self._cancel, running.cell, own)

    def _cancel(self, cell: Writer, own: "asyncio.Future[Any] | None") -> None:
        if self.running is None or self.running.cell != cell or self.delivered == cell or not self.is_in_user_code:
            return
        self.delivered = cell
        if own is None:
            raise KeyboardInterrupt  # a callback's comes out of the loop at once, and takes no task with it
        if own is self._loop.awaited:
            self._loop.interrupted = own
        own.cancel()

    def _is_held_up(self) -> bool:
        """Tell whether the session's loop has not come round for long."""
        asked_at = self._asked_to_turn_at
        if asked_at is None:
            self._asked_to_turn_at = monotonic()
            self._loop.call_soon_threadsafe(self._turned)
            return False
        return monotonic() - asked_at > HELD_UP_SECONDS

    def _turned(self) -> None:
        self._asked_to_turn_at = None

    def _is_in_users_code(self, frame: FrameType | None) -> bool:
        stepped = current_task(self._loop)
        if stepped is not None:
            return _is_in_its_code(stepped)
        return frame is not None and not frame.f_code.co_filename.startswith(_NOBODYS_CODE)

    def _is_traced(self) -> bool:
        return self.running is not None and self.insisted_on == self.running.cell and self.is_in_user_code


def _is_in_its_code(task: "asyncio.Task[object]") -> bool:
    """Tell whether the code of the task runs now: asyncio may be at it, before its code or behind it."""
    code = task.get_coro()
    return bool(getattr(code, "cr_running", getattr(code, "gi_running", True)))
