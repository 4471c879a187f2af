"""Getting an exception past code that swallows it: `while True: try: … except BaseException: pass`.

Raising wherever the code happens to be is caught again. So, only while an interrupt is pending and only after the plain
one did not help, a trace function looks at each new line for a place where no handler of any frame of the cell would
catch, and raises there. (Tracing slows code many times over, and so has no place in normal running.)
"""

import dis
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

_ENGINE_DIRECTORY: Final = str(Path(__file__).parent) + "/"
EXECUTOR_FUNCTIONS: Final = {"evaluate", "_evaluate"}  # what runs a cell's code objects, without and with await


class Tracer:
    """Raises KeyboardInterrupt at the first line that no handler protects, while `is_wanted`."""

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        self._is_wanted = is_wanted
        self._handlers: dict[CodeType, list[tuple[int, int]]] = {}

    def install(self, frame: FrameType | None, awaiting: object = None) -> None:
        """Trace the calling thread from here on: the frames it is in, and those of a coroutine that awaits."""
        sys.settrace(self._trace)
        frames = [*_stack(frame), *_suspended(awaiting)]
        for each in frames:
            if not each.f_code.co_filename.startswith(_ENGINE_DIRECTORY):
                each.f_trace = self._trace

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not self._is_wanted():
            sys.settrace(None)
            return None
        if frame.f_code.co_filename.startswith(_ENGINE_DIRECTORY):
            return None
        if event == "line" and self._is_unprotected(frame):
            raise KeyboardInterrupt
        return self._trace

    def _is_unprotected(self, frame: FrameType | None) -> bool:
        while frame is not None and not frame.f_code.co_filename.startswith(_ENGINE_DIRECTORY):
            if any(start <= frame.f_lasti < end for start, end in self._protected_ranges(frame.f_code)):
                return False
            frame = frame.f_back
        # Directly below the cell is the executor; any other part of the engine was called by the cell.
        return frame is not None and frame.f_code.co_name in EXECUTOR_FUNCTIONS

    def _protected_ranges(self, code: CodeType) -> list[tuple[int, int]]:
        ranges = self._handlers.get(code)
        if ranges is None:
            # Entries that keep the last instruction are the compiler's own: they clean up and raise again.
            entries = dis._parse_exception_table(code)  # type: ignore[attr-defined]  # noqa: SLF001 - nothing public tells
            ranges = self._handlers[code] = [(entry.start, entry.end) for entry in entries if not entry.lasti]
        return ranges


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _suspended(awaiting: object) -> Iterator[FrameType]:
    """Give the frames of a coroutine and of what it awaits: an exception thrown in makes no call event there."""
    while awaiting is not None:
        frame = getattr(awaiting, "cr_frame", None) or getattr(awaiting, "gi_frame", None)
        if isinstance(frame, FrameType):
            yield frame
        awaiting = getattr(awaiting, "cr_await", None) or getattr(awaiting, "gi_yieldfrom", None)
