"""Cancelling what talks to Redis, although a cancel can get lost on its way.

The driver, cancelled behind a WATCH, says UNWATCH before it goes; when Redis doesn't answer that, what it raises is the
timeout instead of the cancel. To whoever tries again after errors of Redis that is one like the others.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

AGAIN_SECONDS: Final = 0.5  # a task needs far less, unless its cancel got lost


def was_cancelled() -> bool:
    """Tell whether the current task has been cancelled, though it was not told so."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def cancel_until_ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Return when the tasks have ended; what they end with is nobody's here."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=AGAIN_SECONDS)
