"""Runs cells: compile, execute in the one namespace, say what came of it.

Every cell is one task of the session's event loop, in one context that lasts as long as the session: context variables
that a cell sets are there for the next. `asyncio.create_task` works in a cell without await, and what it starts lives
on between cells.
"""

import asyncio
import contextvars
import time
from dataclasses import dataclass
from inspect import CO_COROUTINE
from typing import Any

from skep_shared.frames import Done, Execute, Failure, Frame, Result
from skep_shared.states import CellStatus
from skep_shared.values import decode_value
from skep_workers.session.capture import PipeReader
from skep_workers.session.compiling import CellCompiler, CompiledCell, cell_filename
from skep_workers.session.interrupts import Interrupter
from skep_workers.session.link import CellLink, Writer, current_writer
from skep_workers.session.namespace import NamespaceManager
from skep_workers.session.rendering import mime_bundle, value_as_data
from skep_workers.session.tracebacks import describe_exception


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a cell ended: its status, and the frame that says more, if there is one."""

    status: CellStatus
    frame: Frame | None = None


class Engine:
    """The executor of one session."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, link: CellLink, reader: PipeReader, interrupter: Interrupter
    ) -> None:
        self._loop = loop
        self._link = link
        self._reader = reader
        self._interrupter = interrupter
        self._compiler = CellCompiler()
        self.namespace = NamespaceManager()
        self._context = contextvars.copy_context()

    def start(self, cell: Execute) -> asyncio.Task[None]:
        """Start the cell as a task, which is done when the cell's last frame has been sent."""
        return self._loop.create_task(self._run(cell), name=f"cell {cell.seq}", context=self._context)

    async def _run(self, cell: Execute) -> None:
        writer = Writer(cell.seq, cell.attempt)
        self._reader.drain()  # what was written before belongs to the cell before
        self._reader.writer = writer
        current_writer.set(writer)
        task = asyncio.current_task()
        started_at = time.perf_counter_ns()
        ending = await self._execute(cell, writer, task)
        run_us = (time.perf_counter_ns() - started_at) // 1000
        self._interrupter.forget(writer)
        self._reader.drain()
        done = Done(cell.seq, cell.attempt, ending.status, run_us)
        self._link.send(*(() if ending.frame is None else (ending.frame,)), done)

    async def _execute(self, cell: Execute, writer: Writer, task: asyncio.Task[None] | None) -> _Ending:
        try:
            compiled = self._compiler.compile(cell.code, cell_filename(cell.seq))
            if cell.inputs is not None:
                self.namespace.bind(decode_value(cell.inputs))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
            return _failed(cell, exc, CellStatus.FAILED)
        try:
            try:
                self._interrupter.enter(writer, task)
                value = await self._evaluate(compiled)
                frame = self._result(cell, value) if compiled.shows_value and value is not None else None
                if compiled.last is not None:
                    self.namespace.push_result(value)
            finally:
                self._interrupter.leave()
        except BaseException as exc:  # noqa: BLE001 - user code may raise anything, and nothing ends the session
            if self._interrupter.was_requested(writer) and isinstance(exc, KeyboardInterrupt | asyncio.CancelledError):
                return _failed(cell, exc, CellStatus.INTERRUPTED)
            return _failed(cell, exc, CellStatus.FAILED)
        return _Ending(CellStatus.FINISHED, frame)

    async def _evaluate(self, compiled: CompiledCell) -> Any:
        names = self.namespace.names
        value = None
        for code in (compiled.body, compiled.last):
            if code is not None:
                value = eval(code, names)
                if code.co_flags & CO_COROUTINE:
                    value = await value
        return value if compiled.last is not None else None

    def _result(self, cell: Execute, value: object) -> Result:
        return Result(cell.seq, cell.attempt, mime_bundle(value), value_as_data(value))


def _failed(cell: Execute, exc: BaseException, status: CellStatus) -> _Ending:
    return _Ending(status, Failure(cell.seq, cell.attempt, *describe_exception(exc)))
