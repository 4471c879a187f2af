"""Reduce objects in the session's own process, where reducing them in a forked child hangs.

This process has the threads that such an object waits for: those of a pool, or one that holds a lock. The reductions
are recorded and kept until the next child is forked; its pickler looks them up by the object. This runs in a thread of
its own with a deadline, while the main thread waits, so that a session never hangs over it.

Things that don't work:

- More time for the child. A forked process has one thread, so a wait for another one never ends.
- Saving the variable here. The bytes of this dump are of no use, since the variables that share something with it are
  pickled by the child. So they are only counted, and the dump ends at a limit of bytes or of time.
- Keeping a reduction as it is. Its items come from iterators, which can be read only once: they are kept as lists.
"""

import copyreg
from io import BytesIO
from typing import Any, Final

from skep_workers.session.checkpoint.lost_names import describe
from skep_workers.session.checkpoint.reducers.definitions import DefinitionKeys, definition
from skep_workers.session.checkpoint.saving.pickling.recorded_reductions import Reductions, recorded_reductions, replay
from skep_workers.session.checkpoint.saving.pickling.snapshot_pickler import PROTOCOL, SnapshotPickler
from skep_workers.session.safeguards.native_threads import NativeThread

MOST_BYTES: Final = 256 * 1024 * 1024


class _TooMuch(Exception):
    """The reductions of a variable's objects are too large to be kept twice."""


class _CountingFile(BytesIO):
    """Counts the bytes that are written, and drops them."""

    written = 0

    def write(self, data: Any) -> int:
        self.written += len(data)
        if self.written > MOST_BYTES:
            raise _TooMuch(f"its objects are pickled to more than {MOST_BYTES} bytes")
        return len(data)


class _RecordingPickler(SnapshotPickler):
    """A pickler that records the reductions of objects whose classes define them."""

    def __init__(self, recorded: Reductions) -> None:
        super().__init__(_CountingFile(), keys=DefinitionKeys(), is_trusting=False, buffer_callback=lambda _: None)
        self._recorded = recorded

    def reducer_override(self, obj: Any) -> Any:
        reduced = super().reducer_override(obj)
        kind = type(obj)
        if issubclass(kind, type) or self._kinds.traits(kind).is_trusted:
            return reduced
        if reduced is NotImplemented:
            reduce = copyreg.dispatch_table.get(kind)
            reduced = obj.__reduce_ex__(PROTOCOL) if reduce is None else reduce(obj)
        if not isinstance(reduced, tuple) or not 2 <= len(reduced) <= 6 or reduced[0] is definition:
            return reduced
        # The items come from iterators, which can be read only once.
        function, arguments, state, items, pairs, *setter = (*reduced, *[None] * 6)[:6]
        kept = (function, arguments, state, _list(items), _list(pairs), *setter)
        self._recorded[id(obj)] = (obj, kept)
        return replay(kept)


def _list(items: Any) -> list[Any] | None:
    return None if items is None else list(items)


def record_reductions(values: dict[str, Any], seconds: float) -> dict[str, str]:
    """Record the reductions of these variables' objects; return the variables that failed, with reasons."""
    made: Reductions = {}
    lost = dict.fromkeys(values, f"pickling it hangs, in a forked process and for {seconds:g} s in its own")

    def work() -> None:
        for name, value in values.items():
            try:
                _RecordingPickler(made).dump({name: value})
                del lost[name]
            except BaseException as exc:  # noqa: BLE001 - user code runs in __reduce__, and may even exit
                lost[name] = describe(exc)

    thread = NativeThread(work, "skep-reduce")
    thread.start()
    thread.join(seconds)
    recorded_reductions.update(made)
    return dict(lost)
