"""What a task waits for, for the log: used when it should have ended long ago."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

MOST_TASKS: Final = 20


def awaited(task: asyncio.Task[Any]) -> str:
    """Return the names of the coroutines that the task awaits, outermost first: `Resident.run > Event.wait`."""
    names: list[str] = []
    waiting: Any = task.get_coro()
    while waiting is not None:
        code = getattr(waiting, "cr_code", None) or getattr(waiting, "gi_code", None)
        names.append(code.co_qualname if code is not None else type(waiting).__name__)
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)
    return " > ".join(names)


def all_awaited(tasks: Iterable[asyncio.Task[Any]]) -> dict[str, str]:
    """Return what the unfinished tasks wait for, by task name; at most MOST_TASKS of them."""
    waiting = [task for task in tasks if not task.done()]
    return {task.get_name(): awaited(task) for task in waiting[:MOST_TASKS]}
