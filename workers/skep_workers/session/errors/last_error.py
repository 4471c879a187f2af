"""The error of the latest cell that failed, stored where Python's own prompt stores it: `sys.last_value` and so on.

`pdb.pm()` and `traceback.print_last()` read it from there. Its traceback has no frames of the engine.
"""

import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from skep_shared.originals import threading
from skep_workers.session.errors.code_places import ENGINE_DIRECTORY
from skep_workers.session.errors.tracebacks import after_engine, describe_exception

_LIBRARY: Final = str(Path(threading.__file__).parent) + "/"
_INSTALLED: Final = (_LIBRARY + "site-packages/", _LIBRARY + "dist-packages/")
_HAS_LAST_EXC: Final = sys.version_info >= (3, 12)
_NAMES: Final = ("last_type", "last_value", "last_traceback", *(("last_exc",) if _HAS_LAST_EXC else ()))
_of_sys: Final[dict[str, Any]] = vars(sys)


def without_engine_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback that has only the frames of user code. The given traceback is changed in place.

    Where user code calls the engine, for example by `input`, the engine's frames are removed together with those of
    the library code that the engine calls.
    """
    first = place = after_engine(trace)
    while place is not None:
        following = place.tb_next
        if following is not None and is_engine_frame(following):
            while following is not None and _is_called_by_engine(following):
                following = following.tb_next
            place.tb_next = following
        place = following
    return first if first is None or not is_engine_frame(first) else None


def _is_called_by_engine(trace: TracebackType) -> bool:
    file = trace.tb_frame.f_code.co_filename
    return is_engine_frame(trace) or (file.startswith(_LIBRARY) and not file.startswith(_INSTALLED))


def is_engine_frame(trace: TracebackType) -> bool:
    """Return whether the first frame of a traceback is the engine's."""
    return trace.tb_frame.f_code.co_filename.startswith(ENGINE_DIRECTORY)


def set_last_error(exc: BaseException) -> None:
    """Store an error as the latest one, and drop the reference to the error before."""
    if isinstance(exc, SystemExit):
        return  # Python's prompt doesn't store it either
    _of_sys.update(last_type=type(exc), last_value=exc, last_traceback=exc.__traceback__)
    if _HAS_LAST_EXC:
        _of_sys["last_exc"] = exc


def clear_last_error() -> list[Any]:
    """Remove the latest error, as at the start of a process; return the values that were stored."""
    return [_of_sys.pop(name) for name in _NAMES if name in _of_sys]


class ErrorHook:
    """Calls the function that a cell has assigned to `sys.excepthook`."""

    def __init__(self) -> None:
        self._first = sys.excepthook

    def call(self, exc: BaseException) -> None:
        """Call the hook with a cell's error, which is also reported by events. Raises KeyboardInterrupt."""
        hook = getattr(sys, "excepthook", None)
        if hook is self._first or hook is sys.__excepthook__ or not callable(hook) or isinstance(exc, SystemExit):
            return
        try:
            hook(type(exc), exc, exc.__traceback__)
        except KeyboardInterrupt:
            raise
        except BaseException as inner:  # noqa: BLE001 - user code may raise anything
            if inner.__context__ is exc:
                inner.__context__ = None  # the engine, not the hook, was handling the cell's error
            write_error("Error in sys.excepthook:", inner)


def write_error(what: str, exc: BaseException) -> None:
    """Write an error of user code that has no caller to stderr, after the line `what`. Raises KeyboardInterrupt."""
    try:
        sys.stderr.write(f"{what}\n{describe_exception(exc).traceback}")
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001, S110 - stderr may be user code as well
        pass
