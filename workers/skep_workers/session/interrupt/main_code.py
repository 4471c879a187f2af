"""Whose code the main thread runs when a signal handler interrupts it: there an exception of the handler is raised."""

import asyncio
from asyncio import _get_running_loop, current_task  # bound early: user code may patch asyncio
from types import FrameType
from typing import NamedTuple

from skep_workers.session.attribution.writer import Writer, current_writer
from skep_workers.session.errors.code_places import ASYNCIO_DIRECTORY, ENGINE_DIRECTORY
from skep_workers.session.runtime.loop import SessionLoop
from skep_workers.session.runtime.running_loop import questions


class RunningCell(NamedTuple):
    """The cell that runs, in `task` or, with None, outside of the loop. Times are monotonic seconds."""

    cell: Writer
    task: asyncio.Task[None] | None
    started_at: float
    times_out_at: float | None


class CodeOfMainThread:
    """Finds out whose code runs; called by handlers of signals."""

    def __init__(self, loop: SessionLoop) -> None:
        self._loop = loop

    def is_own(self, running: RunningCell) -> bool:
        """Return whether an exception raised now would be raised in the cell's own code."""
        loop = _get_running_loop()
        if loop is None:
            return True
        stepped = current_task(loop)
        if stepped is None or not _is_in_its_code(stepped):
            return False
        # In a loop that the cell runs itself, by asyncio.run for instance, only the cell's code runs.
        return loop is not self._loop or stepped is (running.task or loop.awaited)

    def is_made_by(self, running: RunningCell) -> bool:
        """Return whether an exception raised now would be raised in a task or a callback that the cell made."""
        loop = _get_running_loop()
        stepped = current_task(loop)
        if stepped is not None and not _is_in_its_code(stepped):
            return False
        return loop is not self._loop or current_writer.get() == running.cell

    def is_users(self, frame: FrameType | None) -> bool:
        """Return whether an exception raised now would be raised in a task or a callback of any cell."""
        stepped = current_task(self._loop)
        if stepped is not None:
            return _is_in_its_code(stepped)
        return frame is not None and not frame.f_code.co_filename.startswith((ASYNCIO_DIRECTORY, ENGINE_DIRECTORY))


def _is_in_its_code(task: "asyncio.Task[object]") -> bool:
    """Return whether the code of the task runs now; before and after it, asyncio's own code runs for the task."""
    code = questions.cell_code if task is questions.cell_task else None
    if code is None:
        code = task.get_coro()
    return bool(getattr(code, "cr_running", getattr(code, "gi_running", True)))
