"""Exit handlers: what user code and its libraries have registered to be called when the process ends.

Those are `atexit`'s and the finalizers of `weakref.finalize`, of which `tempfile.TemporaryDirectory` is made. What was
registered in the zygote, before the session, is the zygote's: a directory that a preloaded library has made there is
every session's, so the handlers from there are forgotten (`multiprocessing`'s, which ends what this process started, is
registered again).

Where the session goes on in another process, an object that its last checkpoint has saved does not end: it lives on in
the checkpoint. Its finalizer is not called then, or the restored object would find its directory removed. What the
checkpoint does not have ends with the process. Non-daemon threads are not waited for, and a thread pool's queue is not
worked off: what they did after the checkpoint would be in no session.
"""

import atexit
import sys
import weakref
from collections.abc import Iterable
from select import POLLIN, poll  # bound early: user code may patch select
from types import ModuleType
from typing import Any, Final

from skep_shared.originals import gc, os
from skep_workers.session.activity import living_children
from skep_workers.session.clock import monotonic

MOST_OBJECTS: Final = 1_000_000
LOOK_SECONDS: Final = 1.0
TRACKER: Final = "from multiprocessing.resource_tracker import main"
TRACKER_SECONDS: Final = 2.0
MOST_NOTES: Final = 20
MAX_NOTE_CHARS: Final = 300
_finalizers: Final[dict[Any, Any]] = weakref.finalize._registry  # type: ignore[attr-defined]  # noqa: SLF001


class ExitHandlers:
    """The exit handlers of one session process."""

    def __init__(self) -> None:
        self._inherited: set[Any] = set()
        self.notes: list[str] = []

    def begin(self) -> None:
        """Forget the handlers of the process that this one was forked from."""
        atexit._clear()  # noqa: SLF001 - there is no other way to do without them
        self._inherited = set(_finalizers)
        exit_function = getattr(sys.modules.get("multiprocessing.util"), "_exit_function", None)
        if exit_function is not None:
            atexit.register(exit_function)

    def spare(self, saved: Iterable[Any]) -> None:
        """Leave the finalizers of these objects, and of all that they reach, uncalled."""
        wanted: dict[int, list[Any]] = {}
        for each in self._own():
            if (found := each.peek()) is not None:
                wanted.setdefault(id(found[0]), []).append(each)
        for number in _reached(saved, set(wanted)) if wanted else ():
            for each in wanted[number]:
                each.atexit = False

    def run(self) -> None:
        """Call the handlers, the last one first. One that raises is reported, also on stderr."""
        for finalizer in self._inherited:
            finalizer.atexit = False
        hook = sys.unraisablehook

        def report(lost: Any, /) -> None:
            self.note("an exit handler", lost.exc_value if lost.exc_value is not None else lost.exc_type())
            hook(lost)

        sys.unraisablehook = report
        try:
            atexit._run_exitfuncs()  # noqa: SLF001 - what sys.exit would do
        finally:
            sys.unraisablehook = hook

    def finalize(self) -> None:
        """Call the finalizers that `run` has not: those that came after one that took too long, for instance."""
        for finalizer in reversed(self._own()):
            if finalizer.atexit:
                try:
                    finalizer()
                except Exception as exc:  # noqa: BLE001 - user code
                    self.note("a finalizer", exc)

    def end_tracker(self) -> None:
        """Have `multiprocessing`'s resource tracker remove shared memory that is left, and wait for it to end."""
        tracker = sys.modules.get("multiprocessing.resource_tracker")
        pids = [pid for pid, command in living_children(os.getpid()) if TRACKER in command]
        if tracker is None or not pids:
            return
        os.close(tracker.getfd())  # the end of its input is the signal for it
        handle = os.pidfd_open(pids[0])
        ended = poll()
        ended.register(handle, POLLIN)
        ended.poll(TRACKER_SECONDS * 1000)
        os.close(handle)

    def note(self, what: str, error: BaseException) -> None:
        """Keep what went wrong, for the session's event."""
        if len(self.notes) < MOST_NOTES:
            self.notes.append(f"{what} raised {type(error).__name__}: {error}"[:MAX_NOTE_CHARS])

    def _own(self) -> list[Any]:
        return [each for each in list(_finalizers) if each not in self._inherited]


def _reached(roots: Iterable[Any], wanted: set[int]) -> set[int]:
    """Return which of the wanted objects, by their ids, these ones reach; all of them if that takes too long.

    Not through a module's names: every function reaches those of its own, and with them all that a session has.
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
