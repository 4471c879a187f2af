"""Cancelling tasks that talk to Redis, although the driver can lose a cancellation.

If the driver is cancelled after a WATCH, it first sends UNWATCH. If Redis doesn't answer that, the driver raises the
timeout instead of CancelledError. Code that retries after errors of Redis can't distinguish it from other timeouts.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

AGAIN_SECONDS: Final = 0.5  # a task ends much sooner, unless its cancellation was lost


def was_cancelled() -> bool:
    """Return whether the current task has been cancelled, even if no CancelledError reached it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def cancel_until_ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until all have ended, without looking at their results and exceptions."""
    tasks = list(tasks)
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=AGAIN_SECONDS)
