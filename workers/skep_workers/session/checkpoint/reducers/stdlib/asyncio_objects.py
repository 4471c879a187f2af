"""Objects of the session's event loop, as bytes and back; checkpoints refer to the functions here that make them.

Queues, locks and events refer to the loop in which they were first waited for. That is the session's loop, so they are
saved with a reference to it. A future or task that is done is saved as a done future with its outcome.
"""

import asyncio
from pickle import PicklingError  # bound early: user code may patch pickle
from typing import Any

from skep_workers.session.checkpoint.reducers.definitions import Reduced, registry


def the_session_loop() -> Any:
    """Return the loop that cells run in. Raises LookupError where there is none."""
    if registry.loop is None:
        raise LookupError("there is no session's event loop in this process")
    return registry.loop


def reduce_future(future: Any) -> Reduced:
    """Reduce a future or a task that is done. Raises PicklingError for another."""
    if not future.done():
        what = "a task" if isinstance(future, asyncio.Task) else "a future"
        raise PicklingError(f"{what} that isn't done can't be saved")
    if future.cancelled():
        outcome: tuple[Any, ...] = ("cancelled", None)
    else:
        # A call of `exception()` would count as having retrieved it.
        exception = future._exception  # noqa: SLF001
        outcome = ("result", future.result()) if exception is None else ("exception", exception)
    return make_done_future, (future.get_loop(),), outcome, None, None, set_future_outcome


def make_done_future(loop: Any) -> Any:
    """Make a future whose outcome is set next."""
    return asyncio.Future(loop=loop)


def set_future_outcome(future: Any, outcome: tuple[str, Any]) -> None:
    """Set the outcome of a future."""
    kind, value = outcome
    if kind == "result":
        future.set_result(value)
    elif kind == "exception":
        future.set_exception(value)
        future.exception()  # otherwise asyncio would log that it was never retrieved
    else:
        future.cancel()


def refuse_handle(_: Any) -> Reduced:
    """Refuse a handle, whose call the loop has yet to make. Raises PicklingError."""
    raise PicklingError("a call that is scheduled in an event loop can't be saved")
