"""Runs cells that await, and simple ones, on an event loop.

Every cell is one task in one context that lasts as long as the session: context variables that a cell sets are there
for the next. `asyncio.create_task` works in a cell without await, and what it starts lives on between cells.
"""

import asyncio
import contextvars
from asyncio import timeout  # bound early: user code may patch asyncio
from types import TracebackType
from typing import Any, Self

from skep_workers.session.compiling import CompiledCell
from skep_workers.session.namespace import NamespaceManager

CO_COROUTINE = 0x80  # inspect.CO_COROUTINE


class AsyncExecutor:
    """Runs code objects in the namespace, on the loop it is given, or else on the one that is running.

    A loop it was given, or found, is never closed by it; one that `run` had to make is.
    """

    def __init__(
        self,
        namespace: NamespaceManager,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        tla_timeout: float | None = None,
    ) -> None:
        """`tla_timeout`: seconds that a cell which awaits may take; others are not bounded by it."""
        self._namespace = namespace
        self._loop = loop
        self._own_loop: asyncio.AbstractEventLoop | None = None
        self.tla_timeout = tla_timeout
        self.context = contextvars.copy_context()

    async def execute(self, compiled: CompiledCell) -> Any:
        """Run the cell; gives the last expression's value. Raises what the code raises, TimeoutError by tla_timeout."""
        if not compiled.awaits:
            return self.execute_now(compiled)
        if self.tla_timeout is None:
            return await self._evaluate(compiled)
        async with timeout(self.tla_timeout):
            return await self._evaluate(compiled)

    def execute_now(self, compiled: CompiledCell) -> Any:
        """Run a cell that doesn't await. Its StopIteration passes, which leaves no coroutine but as a RuntimeError."""
        return compiled.evaluate(self._namespace.names)

    def run(self, compiled: CompiledCell) -> Any:
        """Run the cell from code that has no running loop; makes a loop if it was given none."""
        loop = self._loop
        if loop is None:
            loop = self._own_loop = self._own_loop or asyncio.new_event_loop()
        return loop.run_until_complete(loop.create_task(self.execute(compiled), context=self.context))

    def close(self) -> None:
        """Close coroutines that nobody awaited, and the loop if it is the executor's own; harmless to repeat."""
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
                    value = await value
        return value if compiled.last is not None else None
