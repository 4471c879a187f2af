"""The code of a cell that awaits, and signals while it is suspended.

If a signal's handler raises (for instance an alarm that ends a slow call), Python raises in the code that the main
thread is running. While a cell awaits that is the event loop's code: the exception would end the loop's turn, and a
task whose step was about to run would wait forever. So handlers of user code are replaced while the cell is suspended,
and what they raise in the loop's code is thrown into the cell, at its `await`.
"""

import asyncio
from _signal import (  # type: ignore[import-not-found]  # signal's own make enums of them
    getsignal,
    set_wakeup_fd,
    signal,
)
from asyncio import CancelledError, _get_running_loop, current_task  # bound early: user code may patch asyncio
from collections.abc import Callable, Coroutine, Generator
from types import FrameType
from typing import Any

from skep_workers.session.errors.code_places import LOOP_CODE
from skep_workers.session.interrupt.signal_hold import SignalHold
from skep_workers.session.runtime.loop import SessionLoop
from skep_workers.session.runtime.running_loop import questions


class AwaitedSignals:
    """Replaces handlers of signals while a cell is suspended. Only the main thread uses this."""

    def __init__(self) -> None:
        self._hold: SignalHold | None = None
        self.raise_in_cell: Callable[[BaseException], object] = lambda _exc: None
        self._stand_ins: list[StandInHandler] = []
        self._loop: SessionLoop | None = None
        self._wakes_before = -1
        self.raised: BaseException | None = None  # for the cell's task, which has been cancelled for it

    def connect(self, hold: SignalHold, loop: SessionLoop, raise_in_cell: Callable[[BaseException], object]) -> None:
        """Replace the handlers that the hold reports as changed; `raise_in_cell` gets what they raise in the loop."""
        self._hold, self._loop, self.raise_in_cell = hold, loop, raise_in_cell

    def suspend(self) -> None:
        """Replace the handlers: the cell is suspended from now on."""
        if self._hold is None or self._loop is None:
            return
        for number, handler in self._hold.changed():
            if callable(handler):
                stand_in = StandInHandler(number, handler, self.raise_in_cell)
                self._stand_ins.append(stand_in)
                signal(number, stand_in)
        if self._stand_ins and not self._loop.handles_signals:
            # Otherwise the handler of a signal right before the loop's select would run only after the select.
            self._wakes_before = set_wakeup_fd(self._loop.waker, warn_on_full_buffer=False)

    def resume(self) -> None:
        """Restore the handlers: the cell's code continues."""
        if self._stand_ins and self._loop is not None and not self._loop.handles_signals:
            set_wakeup_fd(self._wakes_before)
        while self._stand_ins:
            stand_in = self._stand_ins[-1]
            if getsignal(stand_in.number) is stand_in:
                signal(stand_in.number, stand_in.handler)
            self._stand_ins.pop()

    def remove_raised(self, instead_of: object) -> Any:
        """Remove and return what a handler has raised. Undo the cancellation that may have brought it to the cell."""
        raised, self.raised = self.raised, None
        task = current_task()
        if isinstance(instead_of, CancelledError) and task is not None:
            task.uncancel()
        return raised


class StandInHandler:
    """A handler that calls another one."""

    __slots__ = ("handler", "number", "raise_in_cell")

    def __init__(
        self, number: int, handler: Callable[..., object], raise_in_cell: Callable[[BaseException], object]
    ) -> None:
        self.number = number
        self.handler = handler
        self.raise_in_cell = raise_in_cell

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Call the handler. Raise its exception here in code of a background task, and otherwise in the cell."""
        try:
            self.handler(number, frame)
        except BaseException as exc:
            if _is_in_user_code(frame, questions.cell_task):
                raise
            self.raise_in_cell(exc)


def _is_in_user_code(frame: FrameType | None, own: "asyncio.Task[Any] | None") -> bool:
    """Return whether code of a background task or a callback runs. `own` is the cell's task, which is suspended."""
    loop = _get_running_loop()
    task = current_task(loop) if loop is not None else None
    if task is not None:
        if task is own:
            return False
        code = task.get_coro()
        return bool(getattr(code, "cr_running", getattr(code, "gi_running", True)))
    is_of_loop = True
    while frame is not None and not frame.f_code.co_filename.startswith(LOOP_CODE):
        is_of_loop, frame = False, frame.f_back
    return not is_of_loop and frame is not None and frame.f_code.co_name == "_run"  # a callback, called by its handle


def _was_raised_by_code(exc: StopIteration) -> bool:
    """Return whether the cell's code has raised this instead of returning: then its frame is in the traceback.

    From Python 3.12 on the interpreter turns this into a RuntimeError only in functions, and a cell's code is none.
    """
    trace = exc.__traceback__
    return trace is not None and trace.tb_next is not None


class CellAwait:
    """Awaits one coroutine: the code of a cell, or of its last expression."""

    __slots__ = ("_signals", "cr_await")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], signals: AwaitedSignals) -> None:
        self.cr_await = questions.cell_code = coroutine  # a name that chains of awaits have
        self._signals = signals

    def __iter__(self) -> Generator[Any, Any, Any]:  # noqa: PYI058 - it has a generator's methods, and await needs one
        """Return the iterator that an `await` drives."""
        return self  # type: ignore[return-value]

    __await__ = __iter__

    def __next__(self) -> Any:
        return self._evaluate(self.cr_await.send, None)

    def send(self, value: Any) -> Any:
        """Continue with the result of the await."""
        return self._evaluate(self.cr_await.send, value)

    def throw(self, kind: Any, value: BaseException | None = None, _trace: object = None) -> Any:
        """Raise at the cell's await."""
        exc = kind if isinstance(kind, BaseException) else value if value is not None else kind()
        return self._evaluate(self.cr_await.throw, exc)

    def close(self) -> None:
        """End the coroutine."""
        self.cr_await.close()

    def _evaluate(self, proceed: Callable[[Any], Any], argument: Any) -> Any:
        signals = self._signals
        while True:
            try:
                signals.resume()
                if signals.raised is not None:
                    proceed, argument = self.cr_await.throw, signals.remove_raised(argument)
                result = proceed(argument)
                break
            except BaseException as exc:
                if self.cr_await.cr_frame is None:  # type: ignore[attr-defined]
                    questions.cell_code = None
                    if type(exc) is StopIteration and _was_raised_by_code(exc):
                        raise RuntimeError("coroutine raised StopIteration") from exc
                    raise  # the code has ended
                # A handler has raised here, before the code continued or right after it suspended: the exception is
                # meant for the code.
                proceed, argument = self.cr_await.throw, exc
        try:
            signals.suspend()
        except BaseException as exc:  # noqa: BLE001 - a handler has raised it
            signals.raise_in_cell(exc)
        return result
