"""Checks whether this process has state that a fork can't duplicate.

In a fork only the forking thread continues. A lock that another thread held remains locked there forever. Files and
sockets are shared: both processes have the same file position and the same peer. Shared memory is changed by both.
"""

import sys
import weakref
from _signal import NSIG, SIG_BLOCK, getsignal, pthread_sigmask  # type: ignore[import-not-found]  # no slow enums
from collections.abc import Callable, Iterable
from typing import Any, Final

from skep_shared.originals import os, read_file
from skep_shared.protocol.interrupt_page import PAGE_NAME
from skep_shared.protocol.orphans import children_of
from skep_workers.session.runtime.loop import SessionLoop
from skep_workers.session.safeguards.native_threads import OwnThreads, has_others
from skep_workers.session.safeguards.private_names import private

_finalizers: Final[dict[Any, Any]] = private(weakref.finalize, "_registry", {}, "live forks keep all finalizers")


def more_threads(pid: int, own: OwnThreads) -> tuple[int, int]:
    """Return how many threads a process has besides the engine's, and how many of the engine's are about to end."""
    numbers = set(map(int, os.listdir(f"/proc/{pid}/task")))
    ending = numbers & own.ended
    return len(numbers - own.living - ending) - own.starting, len(ending)


def has_threads() -> bool:
    """Return whether threads that user code has started are alive."""
    return has_others()


class InitialHooks:
    """The signal handlers and finalizers that existed before any cell ran."""

    def __init__(self) -> None:
        self._signals = _signals()
        self._finalizers = set(_finalizers)

    @property
    def has_new_signals(self) -> bool:
        """Return whether user code handles a signal or blocks one in the main thread."""
        return _signals() != self._signals

    def drop_new_finalizers(self, ends_what_is_outside: Callable[[Any], bool]) -> None:
        """Remove, in a fork, the finalizers that would end something outside of the process.

        For example, only the parent may remove its directory. The restore of a fork omits such finalizers as well.
        """
        for finalizer in [each for each in _finalizers if each not in self._finalizers]:
            call = finalizer.peek()
            if call is None or ends_what_is_outside(call[1]):
                _finalizers.pop(finalizer, None)


def _signals() -> tuple[dict[int, Any], set[Any]]:
    return {number: getsignal(number) for number in range(1, NSIG)}, pthread_sigmask(SIG_BLOCK, ())


def reason_not_to_fork(loop: SessionLoop, hooks: InitialHooks, own_descriptors: Iterable[int]) -> str:
    """Return which state of this process a fork can't duplicate, or '' if there is none."""
    if has_threads():
        return "threads of user code run in it"
    if not loop.is_quiet:
        return "tasks, timers or descriptors of user code wait in its event loop"
    if children_of(os.getpid()):
        return "it has child processes"
    if hooks.has_new_signals:
        return "it handles signals"
    if _holds_more_than({0, 1, 2, *own_descriptors}):
        return "it holds files, sockets or pipes open"
    return "it shares memory with other processes, or could" if _shares_memory() else ""


def imports_from(directory: str) -> bool:
    """Return whether modules were imported from below a directory; a fork would import them from its own directory."""
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", {})
        places = [names.get("__file__"), *_search_path(names.get("__path__"))]
        if any(isinstance(place, str) and place.startswith(directory + os.sep) for place in places):
            return True
    return False


def _search_path(path: Any) -> list[Any]:
    # For a namespace package this is an object that searches for the package again when it is converted to a list.
    try:
        return [] if path is None else list(path)
    except Exception:  # noqa: BLE001 - cells and libraries may have stored anything there
        return []


def _holds_more_than(own: set[int]) -> bool:
    with os.scandir("/proc/self/fd") as found:
        held = {int(entry.name): entry for entry in found}
        for fd in held.keys() - own:
            try:
                target = os.readlink(f"/proc/self/fd/{fd}")
            except FileNotFoundError:  # the descriptor that scandir used
                continue
            if target != f"/proc/{os.getpid()}/fd" and not _is_page(target):
                return True
    return False


def _shares_memory() -> bool:
    for line in read_file("/proc/self/maps").decode("utf-8", "surrogateescape").splitlines():
        _, access, _, _, _, *path = line.split(maxsplit=5)
        if access[1] == "w" and access[3] == "s" and not (path and _is_page(path[0])):
            return True
    return False


def _is_page(target: str) -> bool:
    return target.startswith(f"/memfd:{PAGE_NAME}")
