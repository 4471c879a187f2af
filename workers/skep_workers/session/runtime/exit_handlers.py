"""Exit handlers: functions that user code and its libraries have registered for the end of the process.

These are the handlers of `atexit` and the finalizers of `weakref.finalize`, which `tempfile.TemporaryDirectory` uses.
Handlers that were registered in the zygote, before the session, belong to the zygote: a directory that a preloaded
library has created there is shared by all sessions. So those handlers are discarded. Only `multiprocessing`'s handler
is registered again, because it ends what this process has started.

If the session continues in another process, the objects in its last checkpoint don't end: they live on in the
checkpoint. Their finalizers are not called then, or a restored object would find its directory removed. Other objects
end with the process. Non-daemon threads are not waited for, and the queue of a thread pool is not processed: the
results of work after the checkpoint would be lost anyway.
"""

import atexit
import sys
import weakref
from collections.abc import Iterable
from select import POLLIN, poll  # bound early: user code may patch select
from types import ModuleType
from typing import Any, Final

from skep_shared.originals import gc, os
from skep_workers.session.runtime.activity import living_children
from skep_workers.session.safeguards.clock import monotonic
from skep_workers.session.safeguards.private_names import private

MOST_OBJECTS: Final = 1_000_000
LOOK_SECONDS: Final = 1.0
TRACKER: Final = "from multiprocessing.resource_tracker import main"
TRACKER_SECONDS: Final = 2.0
MOST_NOTES: Final = 20
MAX_NOTE_CHARS: Final = 300
_finalizers: Final[dict[Any, Any]] = private(
    weakref.finalize, "_registry", {}, "finalizers of saved objects are called"
)
_clear_exit_handlers: Final[Any] = private(
    atexit, "_clear", lambda: None, "exit handlers of preloaded modules are called in each session"
)
_run_exit_handlers: Final[Any] = private(atexit, "_run_exitfuncs", lambda: None, "no exit handlers are called")


class ExitHandlers:
    """The exit handlers of one session process."""

    def __init__(self) -> None:
        self._inherited: set[Any] = set()
        self.notes: list[str] = []

    def forget_inherited(self) -> None:
        """Discard the handlers of the process that this one was forked from."""
        _clear_exit_handlers()
        self._inherited = set(_finalizers)
        exit_function = getattr(sys.modules.get("multiprocessing.util"), "_exit_function", None)
        if exit_function is not None:
            atexit.register(exit_function)

    def skip_finalizers_of(self, saved: Iterable[Any]) -> None:
        """Don't call the finalizers of these objects at exit, nor those of any object reachable from them."""
        wanted: dict[int, list[Any]] = {}
        for each in self._own():
            if (found := each.peek()) is not None:
                wanted.setdefault(id(found[0]), []).append(each)
        for number in _reached(saved, set(wanted)) if wanted else ():
            for each in wanted[number]:
                each.atexit = False

    def run(self) -> None:
        """Call the handlers in reverse order of registration. Exceptions are recorded, and reported on stderr."""
        for finalizer in self._inherited:
            finalizer.atexit = False
        hook = sys.unraisablehook

        def report(lost: Any, /) -> None:
            self.record_problem("an exit handler", lost.exc_value if lost.exc_value is not None else lost.exc_type())
            hook(lost)

        sys.unraisablehook = report
        try:
            _run_exit_handlers()
        finally:
            sys.unraisablehook = hook

    def finalize(self) -> None:
        """Call the finalizers that `run` has not called, for example because an earlier one took too long."""
        for finalizer in reversed(self._own()):
            if finalizer.atexit:
                try:
                    finalizer()
                except Exception as exc:  # noqa: BLE001 - user code
                    self.record_problem("a finalizer", exc)

    def end_tracker(self) -> None:
        """Make `multiprocessing`'s resource tracker remove the remaining shared memory, and wait for its end."""
        tracker = sys.modules.get("multiprocessing.resource_tracker")
        pids = [pid for pid, command in living_children(os.getpid()) if TRACKER in command]
        if tracker is None or not pids:
            return
        os.close(tracker.getfd())  # the tracker ends at the end of its input
        handle = os.pidfd_open(pids[0])
        ended = poll()
        ended.register(handle, POLLIN)
        ended.poll(TRACKER_SECONDS * 1000)
        os.close(handle)

    def record_problem(self, what: str, error: BaseException) -> None:
        """Record an error for the session's event."""
        if len(self.notes) < MOST_NOTES:
            self.notes.append(f"{what} raised {type(error).__name__}: {error}"[:MAX_NOTE_CHARS])

    def _own(self) -> list[Any]:
        return [each for each in list(_finalizers) if each not in self._inherited]


def _reached(roots: Iterable[Any], wanted: set[int]) -> set[int]:
    """Return the ids of the wanted objects that are reachable from the roots; all of them if the search takes too long.

    The names of modules are not followed: every function reaches those of its module, and thus the whole session.
    """
    namespaces = {id(vars(module)) for module in list(sys.modules.values()) if isinstance(module, ModuleType)}
    seen, found, ends_at = set(namespaces), set[int](), monotonic() + LOOK_SECONDS
    waiting = list(roots)
    while waiting and len(found) < len(wanted):
        if len(seen) > MOST_OBJECTS or monotonic() > ends_at:
            return wanted
        batch, waiting = waiting[-1000:], waiting[:-1000]
        fresh = [each for each in batch if id(each) not in seen and not isinstance(each, ModuleType)]
        seen.update(map(id, fresh))
        found.update(number for number in map(id, fresh) if number in wanted)
        waiting += gc.get_referents(*fresh)
    return found
