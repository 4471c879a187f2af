"""Who else runs code in this process, or holds a part of it: what a fork can't take along.

In a fork only the thread that forks goes on. A lock that another one held stays locked there for ever, a file or a
socket has one position and one peer for both, and memory that is mapped as shared is changed by both.
"""

import sys
import weakref
from _signal import NSIG, SIG_BLOCK, getsignal, pthread_sigmask  # type: ignore[import-not-found]  # no slow enums
from collections.abc import Iterable
from typing import Any, Final

from skep_shared.interrupt_page import PAGE_NAME
from skep_shared.originals import os, read_file
from skep_shared.orphans import children_of
from skep_workers.session.checkpoint.reducers.weak_references import ends_what_is_outside
from skep_workers.session.loop import SessionLoop
from skep_workers.session.native_threads import has_others, own_idents

_finalizers: Final[dict[Any, Any]] = weakref.finalize._registry  # type: ignore[attr-defined]  # noqa: SLF001


def own_threads() -> int:
    """Give the number of the engine's threads, the main one included."""
    return 1 + len(own_idents)


def native_threads(pid: int) -> int:
    """Give the number of threads that the kernel has of a process."""
    return len(os.listdir(f"/proc/{pid}/task"))


def has_threads() -> bool:
    """Tell whether user code has started threads that live."""
    return has_others()


class Hooks:
    """What was called when before any cell ran: by signals, and at the end of objects."""

    def __init__(self) -> None:
        self._signals = _signals()
        self._finalizers = set(_finalizers)

    @property
    def has_new_signals(self) -> bool:
        """Tell whether user code handles a signal, or has the main thread block one."""
        return _signals() != self._signals

    def drop_new_finalizers(self) -> None:
        """Take out what would end something outside of the process, in a fork: a directory is the parent's to remove.

        A restore of a fork makes such objects without, too.
        """
        for finalizer in [each for each in _finalizers if each not in self._finalizers]:
            call = finalizer.peek()
            if call is None or ends_what_is_outside(call[1]):
                _finalizers.pop(finalizer, None)


def _signals() -> tuple[dict[int, Any], set[Any]]:
    return {number: getsignal(number) for number in range(1, NSIG)}, pthread_sigmask(SIG_BLOCK, ())


def reason_to_stay(loop: SessionLoop, hooks: Hooks, own_descriptors: Iterable[int]) -> str:
    """Say what of this process a fork can't take along; '' if there is nothing."""
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
    """Return whether modules were imported from files below a directory: a fork would import them from its own."""
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", {})
        places = [names.get("__file__"), *_search_path(names.get("__path__"))]
        if any(isinstance(place, str) and place.startswith(directory + os.sep) for place in places):
            return True
    return False


def _search_path(path: Any) -> list[Any]:
    # Of a namespace package it is an object that looks for the package again; its list of places is a property of that.
    try:
        return [] if path is None else list(path)
    except Exception:  # noqa: BLE001 - cells and libraries may have put anything there
        return []


def _holds_more_than(own: set[int]) -> bool:
    with os.scandir("/proc/self/fd") as found:
        held = {int(entry.name): entry for entry in found}
        for fd in held.keys() - own:
            try:
                target = os.readlink(f"/proc/self/fd/{fd}")
            except FileNotFoundError:  # the one that this look is made through
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
