"""Uncaught exceptions of tasks, callbacks, threads and finalizers: written to stderr, without frames of the engine.

An exception of a task or a callback of the loop is output of the cell that created it, whichever cell runs by then.
"""

import sys
import threading
import warnings
from asyncio import SelectorEventLoop
from contextvars import Context
from io import BufferedWriter
from threading import get_ident  # bound early: user code may patch threading
from traceback import FrameSummary, format_list  # bound early: user code may patch traceback
from typing import Any, Final

from skep_shared.originals import gc
from skep_workers.session.attribution.writer import NO_CELL, Writer, current_writer
from skep_workers.session.errors.code_places import ENGINE_DIRECTORY
from skep_workers.session.errors.last_error import without_engine_frames, write_error

_unraisable_hook: Final = sys.__unraisablehook__
_handle_by_default: Final = SelectorEventLoop.default_exception_handler


def engine_interrupt() -> KeyboardInterrupt:
    """Return an interrupt for the engine to raise; if it ends a task or a finalizer, it is not reported."""
    interrupt = KeyboardInterrupt()
    interrupt.skep_raised = True  # type: ignore[attr-defined]
    return interrupt


def is_engine_interrupt(exc: object) -> bool:
    """Return whether an exception is an interrupt that the engine raised."""
    return type(exc) is KeyboardInterrupt and hasattr(exc, "skep_raised")


def report_loop_error(loop: SelectorEventLoop, context: dict[str, Any]) -> None:
    """Log the exception of a task or a callback as asyncio does, as output of the cell that created it."""
    exc = context.get("exception")
    if is_engine_interrupt(exc):
        return
    if isinstance(exc, BaseException):
        BaseException.with_traceback(exc, without_engine_frames(exc.__traceback__))
    writer = next(filter(None, (_writer_of(context.get(name)) for name in ("task", "future", "handle"))), None)
    token = current_writer.set(writer or current_writer.get())
    try:
        _handle_by_default(loop, context)
    finally:
        current_writer.reset(token)


def _writer_of(thing: Any) -> Writer | None:
    """Return the cell that created a task or a handle, or None if that is not known."""
    # Tasks have a method to get their context only from Python 3.12 on.
    for each in gc.get_referents(thing) if thing is not None else ():
        if type(each) is Context and (writer := each.get(current_writer, NO_CELL)) is not NO_CELL:
            return writer
    return getattr(getattr(thing, "_context", None), "get", lambda _name: None)(current_writer)


def report_thread_error(args: Any, /) -> None:
    """Report the exception of a thread, as `threading.excepthook` does."""
    if args.exc_type is SystemExit:
        return
    name = get_ident() if args.thread is None else args.thread.name
    _write(f"Exception in thread {name}:", args)


def report_unraisable(lost: Any, /) -> None:
    """Report the exception of a finalizer or a callback, as `sys.unraisablehook` does."""
    if _was_closed_twice(lost):
        return
    if lost.exc_traceback is None:
        _unraisable_hook(lost)
        return
    _write(f"{lost.err_msg or 'Exception ignored in'}: {_shown(lost.object)}", lost)


def _was_closed_twice(lost: Any) -> bool:
    """Return whether a finalizer has closed a buffer again that a cell has put around its stdout.

    It does so because what the buffer writes to is still open: cells can't close their streams. Python reports from
    3.13 on that this fails.
    """
    exc = lost.exc_value
    return type(lost.object) is BufferedWriter and type(exc) is ValueError and exc.args == ("flush of closed file",)


def _write(what: str, args: Any) -> None:
    # The interpreter's own hooks are C code, which before Python 3.13 finds no lines of cells: they are in no file.
    exc = args.exc_type() if args.exc_value is None else args.exc_value
    BaseException.with_traceback(exc, without_engine_frames(args.exc_traceback))
    write_error(what, exc)


def warn_about_unawaited(coroutine: Any, /) -> None:
    """Warn about a coroutine that was never awaited, as the interpreter does: at the line that dropped it.

    If a line of the engine dropped it, with an earlier result for example, warn at the line that defines the coroutine.
    """
    frame, code = sys._getframe(1), coroutine.cr_code  # noqa: SLF001
    file, line, names = frame.f_code.co_filename, frame.f_lineno, frame.f_globals
    if file.startswith(ENGINE_DIRECTORY):
        file, line, names = code.co_filename, code.co_firstlineno, {}
    text = f"coroutine '{coroutine.__qualname__}' was never awaited"
    if coroutine.cr_origin is not None:
        made_at = [FrameSummary(*place) for place in reversed(coroutine.cr_origin)]
        text += "\nCoroutine created at (most recent call last)\n" + "".join(format_list(made_at)).rstrip("\n")
    registry, module = names.setdefault("__warningregistry__", {}), str(names.get("__name__") or "__main__")
    warnings.warn_explicit(text, RuntimeWarning, file, line, module, registry, source=coroutine)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - user code
        return "<object repr() failed>"


def install_hooks() -> None:
    """Install the hooks for threads and coroutines, in the process that session processes are forked from."""
    warnings._warn_unawaited_coroutine = warn_about_unawaited  # type: ignore[attr-defined]  # noqa: SLF001 - what the interpreter calls
    threading.excepthook = threading.__excepthook__ = report_thread_error
