"""Runs a caller's functions for the events of one cell, in order, while `Session.run` waits for its outcome.

The next event is read from Redis when the function for the one before it has returned. So a slow function delays the
later ones and nothing else, and no more than one page of events waits in memory.
"""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from skep.cell import Cell
from skep.outcome import Outcome
from skep_shared.errors import InvalidArgument, WaitTimeout
from skep_shared.events import Event, OutputEvent

OnOutput = Callable[[OutputEvent], Any]
OnEvent = Callable[[Event], Any]


@dataclass(frozen=True, slots=True)
class Callbacks:
    """A caller's functions, plain or asynchronous; what they return is ignored."""

    on_output: OnOutput | None = None
    on_event: OnEvent | None = None

    def __post_init__(self) -> None:
        for name in ("on_output", "on_event"):
            function = getattr(self, name)
            if function is not None and not callable(function):
                raise InvalidArgument(name, function, f"a function is needed, not {type(function).__name__}")

    def __bool__(self) -> bool:
        return self.on_output is not None or self.on_event is not None

    async def outcome(self, cell: Cell, wait: float | timedelta | None) -> Outcome:
        """Call the functions for each event of the cell, then return its outcome; wait at most so long for all that.

        An exception of a function ends the wait, not the cell. Raises it, and what `Cell.events` and `Cell.outcome`
        raise.
        """
        seconds = wait.total_seconds() if isinstance(wait, timedelta) else wait
        timer = asyncio.timeout(seconds)
        try:
            async with timer:
                async with contextlib.aclosing(cast("AsyncGenerator[Event, None]", cell.events())) as events:
                    async for event in events:
                        await self._call(event)
                return await cell.outcome()
        except TimeoutError as exc:
            if not timer.expired():  # it is a function's own
                raise
            raise WaitTimeout(f"the end of cell {cell.id!r} of session {cell.session_id!r}", seconds or 0.0) from exc

    async def _call(self, event: Event) -> None:
        if self.on_event is not None:
            await _awaited(self.on_event(event))
        if self.on_output is not None and isinstance(event, OutputEvent):
            await _awaited(self.on_output(event))


async def _awaited(result: Any) -> None:
    if inspect.isawaitable(result):
        await result
