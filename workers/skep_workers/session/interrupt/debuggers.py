"""Debuggers in cells: they stop in user code only, can be interrupted, and leave nothing installed.

The debuggers of the standard library are made for programs, not for cells. A debugger that waits for a command catches
KeyboardInterrupt and prompts again. After `continue` it handles SIGINT, to open itself on the next one. When it steps
past the end of a cell it would continue stepping through the engine.
"""

import bdb
import dis
import sys
from _signal import getsignal  # type: ignore[import-not-found]  # the public one makes enumerations
from contextlib import suppress
from inspect import CO_COROUTINE
from sys import gettrace, settrace  # bound early: user code may patch sys
from types import FrameType, TracebackType
from typing import Any, Final

from skep_shared.originals import signal
from skep_workers.session.errors.code_places import ENGINE_DIRECTORY
from skep_workers.session.interrupt.tracer import EXECUTOR_FUNCTIONS

_CAUGHT: Final = "KeyboardInterrupt"
# The engine's functions that call user code: cells, the loop's callbacks, and threads.
_RUN_USER_CODE: Final = EXECUTOR_FUNCTIONS | {"_serve", "_run", "run_until_complete", "bootstrap_of_cell"}
_dispatch: Final = bdb.Bdb.trace_dispatch
_set_continue: Final = bdb.Bdb.set_continue
_get_stack: Final = bdb.Bdb.get_stack


class NeverRaised(BaseException):
    """Replaces KeyboardInterrupt in `except` clauses of debuggers, so that they don't catch it."""


def install_debuggers() -> None:
    """Change the standard library's debuggers, in the process that session processes are forked from."""
    bdb.Bdb.trace_dispatch = _dispatch_of_user_code  # type: ignore[method-assign]
    bdb.Bdb.set_continue = _continue_without_sigint  # type: ignore[method-assign]
    bdb.Bdb.get_stack = _stack_of_user_code  # type: ignore[method-assign]


def _dispatch_of_user_code(self: bdb.Bdb, frame: FrameType, event: str, arg: Any) -> Any:
    if _is_of_engine(frame):
        if _is_executor(frame) and _is_over(frame, event, arg):
            settrace(None)  # at once, so that the debugger doesn't stop in what the engine calls from here on
        return None
    if event == "call" and _is_called_by_engine(frame):
        return None
    return _dispatch(self, frame, event, arg)


def _stack_of_user_code(
    self: bdb.Bdb, f: FrameType | None, t: TracebackType | None
) -> tuple[list[tuple[FrameType, int]], int]:
    """Return the frames that `where`, `up` and `down` show, from the cell's first on, and the index of the latest."""
    stack, index = _get_stack(self, f, t)
    below = [number for number, (frame, _) in enumerate(stack) if _is_executor(frame)]
    first = below[-1] + 1 if below else 0
    kept = [number for number, (frame, _) in enumerate(stack) if number >= first and not _is_of_engine(frame)]
    if not kept:
        return stack, index
    return [stack[number] for number in kept], max(0, sum(number <= index for number in kept) - 1)


def _is_of_engine(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(ENGINE_DIRECTORY)


def _is_executor(frame: FrameType) -> bool:
    return frame.f_code.co_name in EXECUTOR_FUNCTIONS and _is_of_engine(frame)


def _is_called_by_engine(frame: FrameType) -> bool:
    """Return whether a function runs because user code has called the engine, as `print` does."""
    caller = frame.f_back
    while caller is not None and not _is_of_engine(caller):
        caller = caller.f_back
    return caller is not None and caller.f_code.co_name not in _RUN_USER_CODE


def _is_over(frame: FrameType, event: str, arg: Any) -> bool:
    """Return whether the function that runs a cell's code is about to end; it catches nothing that the code raises."""
    code = frame.f_code
    if code.co_name != "evaluate" and not code.co_flags & CO_COROUTINE:
        return False  # a part of the code, which is entered again for each await
    if event == "exception":
        return not issubclass(arg[0], StopIteration)  # StopIteration ends an await
    # A coroutine that suspends at an await reports a return, too.
    return event == "return" and dis.opname[code.co_code[frame.f_lasti]] in {"RETURN_VALUE", "RETURN_CONST"}


def _continue_without_sigint(self: bdb.Bdb) -> None:
    """Continue as the debugger does, and restore the handler of SIGINT that was set before."""
    _set_continue(self)
    before = getattr(type(self), "_previous_sigint_handler", None)
    if before is not None and isinstance(getattr(getsignal(signal.SIGINT), "__self__", None), bdb.Bdb):
        with suppress(ValueError):  # from another thread
            signal.signal(signal.SIGINT, before)


def end_tracing() -> None:
    """Remove the trace function of a debugger, or of the engine, from this thread. Any other one is the user's."""
    traced_by = getattr(gettrace(), "__self__", None)
    if isinstance(traced_by, bdb.Bdb) or type(traced_by).__module__.startswith("skep_workers."):
        settrace(None)


class OpenDebuggers:
    """Debuggers and consoles that wait for a command, and would catch an interrupt."""

    def __init__(self) -> None:
        self.changed: Final[list[dict[str, Any]]] = []  # the globals of modules that don't catch it now

    def stop_catching(self, frame: FrameType | None) -> None:
        """Keep those among the frames from catching the KeyboardInterrupt that is about to be raised."""
        consoles = (bdb.Bdb, *_interpreters())
        while frame is not None:
            if _is_method_of(consoles, frame):
                self._change(frame.f_globals)
            frame = frame.f_back

    def _change(self, names: dict[str, Any]) -> None:
        # `except KeyboardInterrupt` in such a module looks the name up in its globals before the built-in names.
        if _CAUGHT not in names and names.get("__name__") != "__main__":
            names[_CAUGHT] = NeverRaised
            self.changed.append(names)

    def restore(self) -> None:
        """Make them catch it again, when the cell has ended."""
        while self.changed:
            self.changed.pop().pop(_CAUGHT, None)


def _interpreters() -> tuple[type, ...]:
    kind = getattr(sys.modules.get("code"), "InteractiveInterpreter", None)
    return (kind,) if isinstance(kind, type) else ()


def _is_method_of(kinds: tuple[type, ...], frame: FrameType) -> bool:
    return frame.f_code.co_varnames[:1] == ("self",) and isinstance(frame.f_locals.get("self"), kinds)
