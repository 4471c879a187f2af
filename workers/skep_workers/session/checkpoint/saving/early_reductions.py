"""Objects asked for their pickled form in the session's own process, since asking them in a forked child hangs.

The process has the threads that such an object waits for: those of a pool, or one that holds a lock. What the objects
answer is kept until the next child is forked, whose pickler finds it by the object. It runs in a thread of its own with
a deadline, while the main thread waits: a session never hangs for this.
"""

import copyreg
from io import BytesIO
from typing import Any, Final

from skep_workers.session.checkpoint.lost_names import describe
from skep_workers.session.checkpoint.reducers.definitions import DefinitionKeys, definition
from skep_workers.session.checkpoint.saving.pickling import PROTOCOL, Reductions, SnapshotPickler, again
from skep_workers.session.native_threads import NativeThread

MOST_BYTES: Final = 256 * 1024 * 1024


class _TooMuch(Exception):
    """The objects of a variable have more to say than is worth keeping twice."""


class _Counted(BytesIO):
    """Takes what is written and forgets it."""

    written = 0

    def write(self, data: Any) -> int:
        self.written += len(data)
        if self.written > MOST_BYTES:
            raise _TooMuch(f"its objects give more than {MOST_BYTES} bytes")
        return len(data)


class _Asking(SnapshotPickler):
    """A pickler that notes what objects of libraries, and those of cells that answer for themselves, say."""

    def __init__(self, made: Reductions) -> None:
        super().__init__(_Counted(), keys=DefinitionKeys(), is_trusting=False, buffer_callback=lambda _: None)
        self._noted = made

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
        # Items come from an iterator, of which there is one only.
        function, arguments, state, items, pairs, *setter = (*reduced, *[None] * 6)[:6]
        kept = (function, arguments, state, _list(items), _list(pairs), *setter)
        self._noted[id(obj)] = (obj, kept)
        return again(kept)


def _list(items: Any) -> list[Any] | None:
    return None if items is None else list(items)


def ask(values: dict[str, Any], seconds: float) -> tuple[Reductions, dict[str, str]]:
    """Ask the objects of these variables; returns what they say, and for the variables that failed the reason."""
    made: Reductions = {}
    lost = dict.fromkeys(values, f"pickling it hangs, in a forked process and for {seconds:g} s in its own")

    def work() -> None:
        for name, value in values.items():
            try:
                _Asking(made).dump({name: value})
                del lost[name]
            except BaseException as exc:  # noqa: BLE001 - user code runs in __reduce__, and may even exit
                lost[name] = describe(exc)

    thread = NativeThread(work, "skep-ask")
    thread.start()
    thread.join(seconds)
    return dict(made), dict(lost)
