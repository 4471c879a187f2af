"""Getting an exception past code that swallows it: `while True: try: … except BaseException: pass`.

Raising wherever the code happens to be is caught again. So, only while an interrupt is pending and only after the plain
one did not help, a trace function looks at each new line for a place where no handler of any frame of the cell would
catch, and raises there. (Tracing slows code many times over, and so has no place in normal running.)
"""

import dis
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

_ENGINE_DIRECTORY: Final = str(Path(__file__).parent) + "/"
MAX_LINES: Final = 20_000  # after so many lines without an unprotected one, any line will do


class Tracer:
    """Raises KeyboardInterrupt at the first line that no handler protects, while `is_wanted`."""

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        self._is_wanted = is_wanted
        self._lines = 0
        self._handlers: dict[CodeType, list[tuple[int, int]]] = {}

    def install(self, frame: FrameType | None) -> None:
        """Trace the calling thread from here on, and the frames it is in."""
        self._lines = 0
        sys.settrace(self._trace)
        while frame is not None:
            if not frame.f_code.co_filename.startswith(_ENGINE_DIRECTORY):
                frame.f_trace = self._trace
            frame = frame.f_back

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not self._is_wanted():
            sys.settrace(None)
            return None
        if frame.f_code.co_filename.startswith(_ENGINE_DIRECTORY):
            return None
        if event == "line":
            self._lines += 1
            if self._lines > MAX_LINES or self._is_unprotected(frame):
                raise KeyboardInterrupt
        return self._trace

    def _is_unprotected(self, frame: FrameType | None) -> bool:
        while frame is not None and not frame.f_code.co_filename.startswith(_ENGINE_DIRECTORY):
            if any(start <= frame.f_lasti < end for start, end in self._protected_ranges(frame.f_code)):
                return False
            frame = frame.f_back
        return True

    def _protected_ranges(self, code: CodeType) -> list[tuple[int, int]]:
        ranges = self._handlers.get(code)
        if ranges is None:
            # Entries that keep the last instruction are the compiler's own: they clean up and raise again.
            entries = dis._parse_exception_table(code)  # type: ignore[attr-defined]  # noqa: SLF001 - nothing public tells
            ranges = self._handlers[code] = [(entry.start, entry.end) for entry in entries if not entry.lasti]
        return ranges
