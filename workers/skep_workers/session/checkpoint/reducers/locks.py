"""Locks, as bytes and back, and what lives only with the threads or processes that it stands for.

A lock that nobody holds is saved as one: whatever is built on it (conditions, events, queues, semaphores, handlers of
logging) comes back as it was. One that is held isn't: whoever holds it is not there after a restore, so it would stay
held for ever. Checkpoints name the functions here that make locks.
"""

import subprocess
from _thread import RLock, allocate_lock
from collections.abc import Callable
from concurrent.futures import Future
from pickle import PicklingError  # bound early: user code may patch these
from threading import Thread
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced

LOCK: Final = type(allocate_lock())
_is_locked: Final = LOCK.locked
_owns: Final = RLock._is_owned  # type: ignore[attr-defined]  # noqa: SLF001 - what Condition asks, too
_acquire: Final = RLock.acquire
_release: Final = RLock.release


def reduce_lock(lock: Any) -> Reduced:
    """Save a lock that nobody holds. Raises PicklingError."""
    if _is_locked(lock):
        raise PicklingError("a lock that is held can't be saved")
    return make_lock, ()


def reduce_recursive_lock(lock: Any) -> Reduced:
    """Save a lock that nobody holds. Raises PicklingError."""
    if _owns(lock) or not _acquire(lock, blocking=False):
        raise PicklingError("a lock that is held can't be saved")
    _release(lock)
    return make_recursive_lock, ()


def make_lock() -> Any:
    """Give a lock that nobody holds."""
    return allocate_lock()


def make_recursive_lock() -> Any:
    """Give a recursive lock that nobody holds."""
    return RLock()


def _refuse_thread(_: Any) -> None:
    raise PicklingError("a thread can't be saved")


def _refuse_running(process: Any) -> None:
    if process.returncode is None:
        raise PicklingError("a process that runs can't be saved")


def _refuse_pending(future: Any) -> None:
    if not future.done():
        raise PicklingError("a future that isn't done can't be saved")


_REFUSALS: Final[dict[type, Callable[[Any], None]]] = {
    Thread: _refuse_thread,
    subprocess.Popen: _refuse_running,
    Future: _refuse_pending,
}
LIVING: Final = tuple(_REFUSALS)


def refuse_living(value: Any) -> None:
    """Refuse an instance of LIVING that stands for something that goes on. Raises PicklingError."""
    for kind, refuse in _REFUSALS.items():
        if isinstance(value, kind):
            refuse(value)
