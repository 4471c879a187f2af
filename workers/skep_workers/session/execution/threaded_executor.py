"""Runs cells that don't await, without blocking background tasks.

The code runs on the main thread, where no event loop runs meanwhile: the loop moves to a helper thread instead (see
runtime/loop_carrier.py). So `asyncio.run` works in a cell, background tasks continue while it blocks, and an interrupt
ends `time.sleep(60)` at once, with or without background tasks.
"""

import contextvars
from collections.abc import Callable
from typing import Any

from skep_workers.session.compilation.compiling import CompiledCell
from skep_workers.session.runtime.loop import SessionLoop
from skep_workers.session.runtime.loop_carrier import LoopCarrier
from skep_workers.session.runtime.namespace import NamespaceManager
from skep_workers.session.safeguards.shield import Shield


class ThreadedExecutor:
    """Runs code objects on the calling thread, while another thread runs the loop. It must not be running before."""

    def __init__(
        self,
        namespace: NamespaceManager,
        loop: SessionLoop,
        *,
        shield: Shield | None = None,
        context: contextvars.Context | None = None,
        drain: Callable[[float], None] = lambda _seconds: None,
        drain_timeout: float = 1.0,
        on_loop_thread: Callable[[], object] = lambda: None,
    ) -> None:
        """Use `context` for the code instead of the caller's, and `shield` against interrupts of the steps around it.

        `on_loop_thread` is called before the loop continues in another thread. `drain` reads what the code wrote to
        descriptors 1 and 2, for at most `drain_timeout` seconds.
        """
        self._namespace = namespace
        self._shield = shield or Shield()
        self.carrier = LoopCarrier(loop, self._shield, on_loop_thread)
        self._context = context
        self._drain = drain
        self._drain_timeout = drain_timeout

    def execute(self, compiled: CompiledCell, *, carries_loop: bool, blocks: bool = False) -> Any:
        """Run the cell and return the last expression's value. Raises what the code raises.

        With `carries_loop` the loop, which has work now, continues in another thread at once. With `blocks` it does so
        as soon as the cell schedules work.
        """
        carrier = self.carrier
        try:
            carrier.begin_cell(blocks=blocks, starts=carries_loop)
            if self._context is None:
                return compiled.evaluate(self._namespace.names)
            return self._context.run(compiled.evaluate, self._namespace.names)
        finally:
            self._shield.depth += 1
            try:
                carrier.end_cell()
                self._drain(self._drain_timeout)
            finally:
                self._shield.leave()
