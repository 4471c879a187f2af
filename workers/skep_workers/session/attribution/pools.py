"""Output of a pool's thread belongs to the cell whose call it serves, not to the cell that started the pool.

A pool makes an object for each call. Here this object records the calling cell, and the output of the thread that works
on it belongs to that cell. No single change covers all pools: most have a queue in C code, which doesn't record which
code added an item. So the two pools of the standard library are changed, on which others are based (asyncio's default
executor, joblib's threads). Pools that run each call in its caller's context need no change. Any other thread belongs
to the cell that started it, see threads.py.

The names that are changed are private: no public one is called by the thread that works. Where one is missing, a
module is left as it is, `library_hooks` warns, and output goes to the cell that started the pool.
"""

import functools
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import ModuleType
from typing import Any

from skep_workers.session.attribution.writer import Writer, current_writer

_RECORDED = "_skep_writer"  # an attribute of the object that a pool makes for a call


def attribute_executors(module: ModuleType) -> None:
    """Change concurrent.futures.thread. Raises AttributeError if its private names have changed."""
    item: Any = module._WorkItem  # noqa: SLF001 - the only object of a call that its thread receives
    run = item.run
    _record_at(item, "__init__")

    @functools.wraps(run)
    def run_for_cell(work: Any, *args: Any) -> None:
        token = current_writer.set(Writer(*getattr(work, _RECORDED, current_writer.get())))
        try:
            run(work, *args)
        finally:
            current_writer.reset(token)

    item.run = run_for_cell


def attribute_callbacks(module: ModuleType) -> None:
    """Change concurrent.futures.process: the thread that reads its results runs the callbacks of futures.

    Raises AttributeError if its private names have changed.
    """
    item: Any = module._WorkItem  # noqa: SLF001 - as above
    call_back = Future._invoke_callbacks  # type: ignore[attr-defined]  # noqa: SLF001 - as above
    make = item.__init__

    @functools.wraps(make)
    def make_for_cell(made: Any, future: Any, *args: Any, **options: Any) -> None:
        setattr(future, _RECORDED, tuple(current_writer.get()))
        make(made, future, *args, **options)

    item.__init__ = make_for_cell
    if not hasattr(call_back, "__wrapped__"):  # by an earlier import of the module

        @functools.wraps(call_back)
        def call_back_for_cell(future: Any) -> None:
            token = current_writer.set(Writer(*getattr(future, _RECORDED, current_writer.get())))
            try:
                call_back(future)
            finally:
                current_writer.reset(token)

        Future._invoke_callbacks = call_back_for_cell  # type: ignore[attr-defined]  # noqa: SLF001 - as above


def attribute_pools(module: ModuleType) -> None:
    """Change multiprocessing.pool: threads of a ThreadPool, and callbacks and iterators of any pool.

    Raises AttributeError if its private names have changed.
    """
    pool, thread_pool = module.Pool, module.ThreadPool
    generate, set_up = pool._guarded_task_generation, thread_pool._setup_queues  # noqa: SLF001 - as above
    recording = (module.ApplyResult, module.IMapIterator)
    calling_back = [(result, result._set) for result in (module.ApplyResult, module.MapResult)]  # noqa: SLF001 - as above
    for result in recording:
        _record_at(result, "__init__")
    for result, call_back in calling_back:
        result._set = _as_recorded(call_back)  # noqa: SLF001 - this calls the callbacks

    @functools.wraps(generate)
    def generate_for_cell(own: Any, job: int, *args: Any) -> Iterator[Any]:
        _attribute_thread(_call_of(own, job))
        yield from generate(own, job, *args)

    @functools.wraps(set_up)
    def set_up_for_cells(own: Any) -> None:
        set_up(own)
        if hasattr(own, "_inqueue"):
            own._inqueue = _Tasks(own._inqueue, own)  # noqa: SLF001 - as above

    pool._guarded_task_generation = generate_for_cell  # noqa: SLF001 - as above
    thread_pool._setup_queues = set_up_for_cells  # noqa: SLF001 - as above


class _Tasks:
    """The queue of a ThreadPool's tasks. A thread that gets a task is attributed to the task's cell."""

    def __init__(self, queue: Any, pool: Any) -> None:
        self._queue = queue
        self._pool = weakref.ref(pool)  # weak: its threads hold this object, and must not keep the pool alive

    def get(self, *args: Any, **options: Any) -> Any:
        """Remove and return a task, whose item 0 is its call's number; attribute the calling thread to its cell."""
        task = self._queue.get(*args, **options)
        pool = self._pool()
        if task is not None and pool is not None:
            _attribute_thread(_call_of(pool, task[0]))
        return task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


def _call_of(pool: Any, number: int) -> Any:
    """Return the object that a pool has made for a call; None if it is not known."""
    return getattr(pool, "_cache", {}).get(number)


def _record_at(kind: Any, name: str) -> None:
    """Make objects of this kind record the cell that makes them."""
    make = getattr(kind, name)

    @functools.wraps(make)
    def make_for_cell(made: Any, *args: Any, **options: Any) -> None:
        setattr(made, _RECORDED, tuple(current_writer.get()))  # plain: a checkpoint may save the object
        make(made, *args, **options)

    setattr(kind, name, make_for_cell)


def _as_recorded(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call_for_cell(result: Any, *args: Any) -> Any:
        _attribute_thread(result)
        return method(result, *args)

    return call_for_cell


def _attribute_thread(recording: Any) -> None:
    """Attribute the calling thread, which is a pool's, to the recorded cell."""
    recorded: tuple[int, int] | None = getattr(recording, _RECORDED, None)
    if recorded is not None:
        current_writer.set(Writer(*recorded))
