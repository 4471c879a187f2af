"""Runs cells that await, on an event loop.

Every such cell is one task, in the one context that all cells of the session share: the next cell finds the context
variables that a cell has set. Tasks that a cell starts continue between cells.
"""

import asyncio
import contextvars
from asyncio import timeout  # bound early: user code may patch asyncio
from types import TracebackType
from typing import Any, Self

from skep_workers.session.compilation.compiling import CompiledCell
from skep_workers.session.execution.awaiting import AwaitedSignals, CellAwait
from skep_workers.session.runtime.namespace import NamespaceManager

CO_COROUTINE = 0x80  # inspect.CO_COROUTINE


class AsyncExecutor:
    """Runs code objects in the namespace, on the given loop, or without one on the running loop.

    It closes only a loop that `run` has made itself.
    """

    def __init__(
        self,
        namespace: NamespaceManager,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        tla_timeout: float | None = None,
    ) -> None:
        """`tla_timeout` limits the seconds of cells that await, and of no others."""
        self._namespace = namespace
        self._loop = loop
        self._own_loop: asyncio.AbstractEventLoop | None = None
        self.tla_timeout = tla_timeout
        self.signals = AwaitedSignals()
        self.context = contextvars.copy_context()

    async def execute(self, compiled: CompiledCell) -> Any:
        """Run the cell and return the last expression's value. Raises what the code raises, and TimeoutError."""
        if not compiled.awaits:
            return compiled.evaluate(self._namespace.names)
        if self.tla_timeout is None:
            return await self._evaluate(compiled)
        async with timeout(self.tla_timeout):
            return await self._evaluate(compiled)

    def run(self, compiled: CompiledCell) -> Any:
        """Run the cell from code without a running loop; make a loop if none was given."""
        loop = self._loop
        if loop is None:
            loop = self._own_loop = self._own_loop or asyncio.new_event_loop()
        return loop.run_until_complete(loop.create_task(self.execute(compiled), context=self.context))

    def close(self) -> None:
        """Close coroutines that were never awaited, and the loop if `run` has made it. Harmless to repeat."""
        self._namespace.cleanup_coroutines()
        own, self._own_loop = self._own_loop, None
        if own is not None:
            own.run_until_complete(own.shutdown_asyncgens())
            own.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _evaluate(self, compiled: CompiledCell) -> Any:
        value: Any = None
        for code in (compiled.body, compiled.last):
            if code is not None:
                value = eval(code, self._namespace.names)
                if code.co_flags & CO_COROUTINE:
                    value = await CellAwait(value, self.signals)
        return value if compiled.last is not None else None
