"""What belongs to the session's event loop, as bytes and back; checkpoints name the functions here that make it.

Queues, locks and events know the loop that they were waited on in. That is the session's, so they are saved with a
reference to it. A future or task that is done is saved as a done future: what it runs has ended, what it gave hasn't.
"""

import asyncio
from pickle import PicklingError  # bound early: user code may patch pickle
from typing import Any

from skep_workers.session.checkpoint.reducers.definitions import Reduced, registry


def the_session_loop() -> Any:
    """Return the loop that cells run in. Raise LookupError where there is none."""
    if registry.loop is None:
        raise LookupError("there is no session's event loop in this process")
    return registry.loop


def reduce_future(future: Any) -> Reduced:
    """Save a future or a task that is done. Raise PicklingError for another."""
    if not future.done():
        what = "a task" if isinstance(future, asyncio.Task) else "a future"
        raise PicklingError(f"{what} that isn't done can't be saved")
    if future.cancelled():
        outcome: tuple[Any, ...] = ("cancelled", None)
    else:
        # Asking for it with `exception()` would count as having retrieved it.
        exception = future._exception  # noqa: SLF001
        outcome = ("result", future.result()) if exception is None else ("exception", exception)
    return make_done_future, (future.get_loop(),), outcome, None, None, set_future_outcome


def make_done_future(loop: Any) -> Any:
    """Make a future that gets its outcome next."""
    return asyncio.Future(loop=loop)


def set_future_outcome(future: Any, outcome: tuple[str, Any]) -> None:
    """Set what a future gave."""
    kind, value = outcome
    if kind == "result":
        future.set_result(value)
    elif kind == "exception":
        future.set_exception(value)
        future.exception()  # it has been seen, where it was raised
    else:
        future.cancel()


def refuse_handle(_: Any) -> Reduced:
    """Refuse what stands for a call that a loop has yet to make. Raise PicklingError."""
    raise PicklingError("a call that is scheduled in an event loop can't be saved")
