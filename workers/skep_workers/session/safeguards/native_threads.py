"""Threads of the engine, and their conditions and events, independent of patches to the module `threading`.

gevent turns threads that `threading.Thread` starts into greenlets, and waits into turns of its own loop. A mock turns
them into nothing. So the engine's threads are started by the interpreter itself, and wait on its plain locks.
"""

import contextlib
import sys
from _thread import allocate_lock, get_ident, start_new_thread
from collections import deque
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final, NamedTuple

from skep_shared.originals import os, threading
from skep_workers.session.safeguards.private_names import private
from skep_workers.session.safeguards.resource_reserve import relief

PREFIX: Final = "skep-"  # of the engine's threads' names
MOST_ENDED: Final = 8
_DummyThread: Final[Any] = private(threading, "_DummyThread", None, "the engine's threads have names of their own")
_make_handle: Final[Any] = getattr(threading, "_make_thread_handle", None)  # from Python 3.13 on
_active: Final[dict[int, Any] | None] = private(threading, "_active", None, "looking for threads takes a lock")
_main_thread: Final = threading.main_thread()
_only_main: Final = {_main_thread.ident}
own_idents: Final[set[int]] = set()  # of the engine's living threads, except the main one
_starting: Final[list[None]] = []  # an entry for each thread that was started and has not run yet
# The kernel's numbers of the threads that live, and of those that ended last, or are about to.
_living: Final[set[int]] = set()
_ended: Final[deque[int]] = deque(maxlen=MOST_ENDED)
for _threads in (own_idents, _starting, _living, _ended):
    os.register_at_fork(after_in_child=_threads.clear)


class NativeThread:
    """A daemon thread of the engine. `threading.enumerate` shows its name."""

    def __init__(self, target: Callable[[], object], name: str) -> None:
        """`name` begins with PREFIX."""
        self._target = target
        self._name = name
        self._running = allocate_lock()
        self._pid = 0
        self.ident: int | None = None

    def start(self) -> None:
        """Start the thread. Raises RuntimeError if the system allows no more threads."""
        self._running.acquire()
        self._pid = os.getpid()
        _starting.append(None)
        try:
            self.ident = relief.call(lambda: start_new_thread(self._run, ()))
        except BaseException:
            _starting.pop()
            self._running.release()
            raise

    def is_alive(self) -> bool:
        """Return whether the thread was started in this process, not before a fork, and has not ended."""
        return self._running.locked() and self._pid == os.getpid()

    def join(self, seconds: float | None = None) -> None:
        """Wait until the thread has ended, at most this long."""
        if self.is_alive() and self._running.acquire(timeout=-1 if seconds is None else max(0.0, seconds)):
            self._running.release()

    def _run(self) -> None:
        self.ident = ident = get_ident()
        number = threading.get_native_id()
        own_idents.add(ident)
        _starting.pop()
        _living.add(number)
        try:
            with contextlib.suppress(Exception):
                _register(ident, self._name)
            self._target()
        finally:
            if _active is not None:
                _active.pop(ident, None)
            _ended.append(number)
            _living.discard(number)
            own_idents.discard(ident)
            self._running.release()


def _register(ident: int, name: str) -> None:
    """Register this thread with `threading`, so that finalizers and background tasks in it find a thread of this name.

    Where `threading` is patched the thread is not registered: the patch defines what `threading` lists.
    """
    is_patched = getattr(sys.modules.get("threading"), "Event", None) is not threading.Event
    if is_patched or _active is None or _DummyThread is None:
        return
    thread = _DummyThread.__new__(_DummyThread)
    threading.Thread.__init__(thread, name=name, daemon=True)
    thread._ident = ident  # noqa: SLF001
    thread._native_id = threading.get_native_id()  # noqa: SLF001
    if _make_handle is not None:
        thread._handle = _make_handle(ident)  # noqa: SLF001
    thread._started.set()  # noqa: SLF001
    _active[ident] = thread


class Condition(threading.Condition):
    """A condition whose waits are the interpreter's: `wait` has private globals, which no patch changes."""

    wait = FunctionType(
        threading.Condition.wait.__code__,
        vars(threading) | {"__builtins__": __builtins__},
        "wait",
        threading.Condition.wait.__defaults__,
    )


class Event(threading.Event):
    """An event based on this module's condition."""

    def __init__(self) -> None:
        self._cond = Condition(allocate_lock())
        self._flag = False


class OwnThreads(NamedTuple):
    """The engine's threads: the kernel's numbers of those that live or may be about to end, and how many have none yet.

    On a busy machine a thread begins to run long after it was started, and the kernel removes it long after its end.
    """

    living: frozenset[int]
    ended: frozenset[int]
    starting: int


def own_threads() -> OwnThreads:
    """Return the engine's threads, the calling one included."""
    return OwnThreads(frozenset({threading.get_native_id(), *_living}), frozenset(_ended), len(_starting))


def thread_names() -> dict[int | None, str]:
    """Return the names of the living threads, by identifier."""
    return {number: each.name for number, each in _alive()}


def _alive() -> list[tuple[int | None, Any]]:
    """Return the living threads with their identifiers, according to `threading`, whose own function takes a lock."""
    if _active is None:
        return [(each.ident, each) for each in threading.enumerate()]
    return list(_active.items())


def has_others() -> bool:
    """Return whether threads of user code are alive, according to `threading`."""
    # The main thread is not always the first entry: gevent registers it again.
    if _active is not None and (len(_active) <= 1 or _active.keys() - own_idents == _only_main):
        return False
    return any(
        each is not _main_thread and number not in own_idents and not each.name.startswith(PREFIX)
        for number, each in _alive()
    )
