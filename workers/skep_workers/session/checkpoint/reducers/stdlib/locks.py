"""Locks, as bytes and back; and the refusal of objects that stand for a living thread or process.

A lock that no thread holds is saved, and with it everything that is built on locks (conditions, events, queues,
semaphores, handlers of logging). A lock that is held is refused: its holder doesn't exist after a restore, so it would
remain held forever. Checkpoints refer to the functions here that make locks.
"""

import subprocess
from _thread import RLock, allocate_lock
from collections.abc import Callable
from concurrent.futures import Future
from pickle import PicklingError  # bound early: user code may patch these
from threading import Thread
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced
from skep_workers.session.safeguards.private_names import private

LOCK: Final = type(allocate_lock())
_is_locked: Final = LOCK.locked
_owns: Final[Callable[[Any], bool]] = private(
    RLock, "_is_owned", lambda lock: RLock.__repr__(lock).startswith("<locked"), "locks are judged by their texts"
)
_acquire: Final = RLock.acquire
_release: Final = RLock.release


def reduce_lock(lock: Any) -> Reduced:
    """Reduce a lock that no thread holds. Raises PicklingError."""
    if _is_locked(lock):
        raise PicklingError("a lock that is held can't be saved")
    return make_lock, ()


def reduce_recursive_lock(lock: Any) -> Reduced:
    """Reduce a lock that no thread holds. Raises PicklingError."""
    if _owns(lock) or not _acquire(lock, blocking=False):
        raise PicklingError("a lock that is held can't be saved")
    _release(lock)
    return make_recursive_lock, ()


def make_lock() -> Any:
    """Return a lock that no thread holds."""
    return allocate_lock()


def make_recursive_lock() -> Any:
    """Return a recursive lock that no thread holds."""
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
    """Refuse an instance of LIVING whose thread, process or call has not ended. Raises PicklingError."""
    for kind, refuse in _REFUSALS.items():
        if isinstance(value, kind):
            refuse(value)
