"""Thread-local data and idle pools, as bytes and back; checkpoints refer to the functions here that make them."""

import gc
from concurrent.futures import Executor, Future
from pickle import PicklingError  # bound early: user code may patch pickle
from threading import local
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced
from skep_workers.session.runtime.live_objects import instances_of

# A thread-local object refers to its class, its positional arguments, its keyword arguments if it has any, and the data
# of threads.
_REFERENTS: Final = len(gc.get_referents(local()))


def reduce_thread_local(value: Any) -> Reduced:
    """Reduce the thread-local data of the main thread; no other thread exists after a restore."""
    kind, *rest = gc.get_referents(value)
    arguments = rest[0] if rest and type(rest[0]) is tuple else ()
    named = rest[1] if len(rest) + 1 > _REFERENTS and type(rest[1]) is dict else {}
    state = dict(local.__getattribute__(value, "__dict__"))
    return make_thread_local, (kind, arguments, named), state, None, None, set_thread_local


def make_thread_local(kind: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Make thread-local data with the arguments for other threads; this thread's content is set as its state."""
    return local.__new__(kind, *arguments, **named)


def set_thread_local(value: Any, state: dict[str, Any]) -> None:
    """Set the data of the main thread."""
    local.__getattribute__(value, "__dict__").update(state)


# --- pools ------------------------------------------------------------------------------------------------------------

_THREADS: Final = {
    "max_workers": "_max_workers",
    "thread_name_prefix": "_thread_name_prefix",
    "initializer": "_initializer",
    "initargs": "_initargs",
}
_PROCESSES: Final = {
    "max_workers": "_max_workers",
    "initializer": "_initializer",
    "initargs": "_initargs",
    "max_tasks_per_child": "_max_tasks_per_child",
}
_THREAD_POOL: Final = "ThreadPoolExecutor"
_PROCESS_POOL: Final = "ProcessPoolExecutor"


def reduce_pool(pool: Executor) -> Any:
    """Reduce an idle pool to its settings. Raises PicklingError for one that has work to do."""
    base = next((each for each in type(pool).__mro__ if each.__module__.startswith("concurrent.futures.")), None)
    names = vars(pool)
    if base is None or base.__name__ not in {_THREAD_POOL, _PROCESS_POOL}:
        return NotImplemented
    is_of_threads = base.__name__ == _THREAD_POOL
    if _works(names, is_of_threads=is_of_threads):
        raise PicklingError("a pool whose work isn't done can't be saved")
    places = _THREADS if is_of_threads else _PROCESSES
    settings = {name: names[place] for name, place in places.items()}
    method = None if is_of_threads else names["_mp_context"].get_start_method()
    fresh = vars(_made(base, settings, method))
    own = {name: value for name, value in names.items() if name not in fresh}
    is_shut_down = bool(names.get("_shutdown") or names.get("_shutdown_thread"))
    return make_pool, (type(pool), settings, method, is_shut_down), own or None


def _works(names: dict[str, Any], *, is_of_threads: bool) -> bool:
    if not is_of_threads:
        return bool(names["_pending_work_items"])
    if names["_shutdown"]:
        return any(thread.is_alive() for thread in names["_threads"])
    if names["_work_queue"].qsize():
        return True
    if len(names["_threads"]) <= names["_idle_semaphore"]._value:  # noqa: SLF001
        return False
    # One of its threads is still at work, or has not reported yet that it is idle.
    return any(each.running() for each in instances_of(Future))


def _made(kind: Any, settings: dict[str, Any], method: str | None) -> Any:
    base = next(each for each in kind.__mro__ if each.__module__.startswith("concurrent.futures."))
    pool = kind.__new__(kind)
    if method is None:
        base.__init__(pool, **settings)
    else:
        import multiprocessing  # noqa: PLC0415 - a session that has such a pool has imported it

        base.__init__(pool, **settings, mp_context=multiprocessing.get_context(method))
    return pool


def make_pool(kind: Any, settings: dict[str, Any], method: str | None, is_shut_down: bool) -> Any:
    """Make a pool with these settings, without calling an `__init__` that a cell has defined."""
    pool = _made(kind, settings, method)
    if is_shut_down:
        pool.shutdown()
    return pool
