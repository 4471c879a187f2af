"""Threads of the engine, and what they wait for each other with, whatever has become of the module `threading`.

gevent makes greenlets of threads that `threading.Thread` starts and has waits turn its own loop; a mock makes nothing
of them. So the engine's threads are started by the interpreter itself, and wait on its plain locks.
"""

import contextlib
import sys
from _thread import allocate_lock, get_ident, start_new_thread
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final

from skep_shared.originals import os, threading
from skep_workers.session.relief import relief

PREFIX: Final = "skep-"  # of the engine's threads' names
_DummyThread: Final[Any] = threading._DummyThread  # noqa: SLF001
_make_handle: Final[Any] = getattr(threading, "_make_thread_handle", None)  # from Python 3.13 on
_active: Final[dict[int, Any]] = threading._active  # type: ignore[attr-defined]  # noqa: SLF001
_main_thread: Final = threading.main_thread()
own_idents: Final[set[int]] = set()  # of the engine's threads that live, but for the main one
os.register_at_fork(after_in_child=own_idents.clear)


class NativeThread:
    """A daemon thread of the engine. Its name is what `threading.enumerate` gives for it."""

    def __init__(self, target: Callable[[], object], name: str) -> None:
        """`name` begins with PREFIX."""
        self._target = target
        self._name = name
        self._running = allocate_lock()
        self._pid = 0
        self.ident: int | None = None

    def start(self) -> None:
        """Start it. Raises RuntimeError where the system allows no other thread."""
        self._running.acquire()
        self._pid = os.getpid()
        try:
            self.ident = relief.call(lambda: start_new_thread(self._run, ()))
        except BaseException:
            self._running.release()
            raise

    def is_alive(self) -> bool:
        """Return whether it was started in this process, not one that this is a fork of, and has not ended."""
        return self._running.locked() and self._pid == os.getpid()

    def join(self, seconds: float | None = None) -> None:
        """Wait until it has ended, at most so long."""
        if self.is_alive() and self._running.acquire(timeout=-1 if seconds is None else max(0.0, seconds)):
            self._running.release()

    def _run(self) -> None:
        self.ident = ident = get_ident()
        own_idents.add(ident)
        try:
            with contextlib.suppress(Exception):
                _show(ident, self._name)
            self._target()
        finally:
            _active.pop(ident, None)
            own_idents.discard(ident)
            self._running.release()


def _show(ident: int, name: str) -> None:
    """Have user code that runs in this thread, a finalizer or a background task, find itself in one of this name.

    Where threads are patched, what `threading` knows of them is the patch's own business.
    """
    if getattr(sys.modules.get("threading"), "Event", None) is not threading.Event:
        return
    face = _DummyThread.__new__(_DummyThread)
    threading.Thread.__init__(face, name=name, daemon=True)
    face._ident = ident  # noqa: SLF001
    face._native_id = threading.get_native_id()  # noqa: SLF001
    if _make_handle is not None:
        face._handle = _make_handle(ident)  # noqa: SLF001
    face._started.set()  # noqa: SLF001
    _active[ident] = face


class Condition(threading.Condition):
    """A condition whose waits are the interpreter's: `wait` finds what it uses in modules that nobody patches."""

    wait = FunctionType(
        threading.Condition.wait.__code__,
        vars(threading) | {"__builtins__": __builtins__},
        "wait",
        threading.Condition.wait.__defaults__,
    )


class Event(threading.Event):
    """An event of such a condition."""

    def __init__(self) -> None:
        self._cond = Condition(allocate_lock())
        self._flag = False


def has_others() -> bool:
    """Return whether threads of user code live, as far as `threading` knows."""
    # enumerate() would take a lock. The main thread is not always the first one: gevent enters it again.
    return len(_active) > 1 and any(
        each is not _main_thread and not each.name.startswith(PREFIX) for each in list(_active.values())
    )
