"""Raises an exception where code can't swallow it: `while True: try: … except BaseException: pass`.

An exception that is raised at an arbitrary line would be caught again. So a trace function checks at each new line
whether a handler of any frame of the cell would catch, and raises where none would. It is installed only while an
interrupt is pending, and only after a plain KeyboardInterrupt did not end the cell, since tracing slows code many times
over.
"""

import dis
import sys
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FrameType
from typing import Any, Final

from skep_workers.session.errors.code_places import ENGINE_DIRECTORY
from skep_workers.session.errors.sources import CELL_PREFIX
from skep_workers.session.safeguards.private_names import private

EXECUTOR_FUNCTIONS: Final = {"evaluate", "_evaluate"}  # these run a cell's code objects, without and with await

_exception_table: Final[Callable[[CodeType], Iterable[Any]]] = private(
    dis, "_parse_exception_table", lambda _code: (), "an interrupt may have to be raised many times"
)


class Tracer:
    """Raises KeyboardInterrupt at the first line that no handler protects, while `is_wanted`."""

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        self._is_wanted = is_wanted
        self._handlers: dict[CodeType, list[tuple[int, int]]] = {}

    def install(self, frame: FrameType | None, awaiting: object = None) -> None:
        """Trace the calling thread from here on: its frames, and those of a coroutine that awaits."""
        sys.settrace(self._trace)
        frames = [*_stack(frame), *_suspended(awaiting)]
        for each in frames:
            if not each.f_code.co_filename.startswith(ENGINE_DIRECTORY):
                each.f_trace = self._trace

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not self._is_wanted():
            sys.settrace(None)
            return None
        if frame.f_code.co_filename.startswith(ENGINE_DIRECTORY):
            return None
        if event == "line" and self._is_unprotected(frame):
            raise KeyboardInterrupt
        return self._trace

    def _is_unprotected(self, frame: FrameType | None) -> bool:
        while frame is not None and not frame.f_code.co_filename.startswith(ENGINE_DIRECTORY):
            if any(start <= frame.f_lasti < end for start, end in self._protected_ranges(frame.f_code)):
                return False
            frame = frame.f_back
        # The cell's caller is the executor. Any other function of the engine was called by the cell.
        return frame is not None and frame.f_code.co_name in EXECUTOR_FUNCTIONS

    def _protected_ranges(self, code: CodeType) -> list[tuple[int, int]]:
        ranges = self._handlers.get(code)
        if ranges is None:
            # Entries that save the last instruction are the compiler's own: they clean up and raise again.
            entries = _exception_table(code)
            ranges = self._handlers[code] = [(entry.start, entry.end) for entry in entries if not entry.lasti]
        return ranges


def runs_a_cell(frame: FrameType | None) -> bool:
    """Return whether code of a cell is among the frames. There is none before the cell's code and after its end."""
    return any(each.f_code.co_filename.startswith(CELL_PREFIX) for each in _stack(frame))


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _suspended(awaiting: object) -> Iterator[FrameType]:
    """Yield the frames of a coroutine and of what it awaits: an exception thrown into them causes no call event."""
    while awaiting is not None:
        frame = getattr(awaiting, "cr_frame", None) or getattr(awaiting, "gi_frame", None)
        if isinstance(frame, FrameType):
            yield frame
        awaiting = getattr(awaiting, "cr_await", None) or getattr(awaiting, "gi_yieldfrom", None)
