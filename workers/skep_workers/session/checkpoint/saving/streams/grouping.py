"""Grouping variables: those that share something that can change go into one stream.

Each variable is pickled by itself first. The pickler's memo then lists every object it met. Where two variables met the
same object, and it can change, they are pickled again, together. A variable that fails costs only itself.

Things that don't work:

- One stream for all variables. One variable that can't be pickled, or that hangs, costs all of them, and a change of
  one changes the stream of all.
- A copy of the memo (`Pickler.memo.copy()`) to find what is shared. For a million objects it took longer than pickling
  them. `memo` looks the ids up in the pickler's own table instead, and `sharing` never lists the largest stream.
- Joining variables over any common object. Short strings are names, and nearly everywhere: they would join all
  variables into one group. See `sharing` for the objects that count.
- Pickling everything apart first for each snapshot. Variables that belong together were pickled twice every time, so
  the groups of the snapshot before are tried first (`joint`), while their variables have the same values.
- `persistent_id` to replace objects that modules own: it is called for every object, see `references`.
"""

import weakref
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from skep_workers.session.checkpoint.hidden_names import FINALIZER
from skep_workers.session.checkpoint.reducers.definitions import is_compared_plainly
from skep_workers.session.checkpoint.saving.pickling.shared_memory import connections
from skep_workers.session.checkpoint.saving.streams.progress import SEVERAL
from skep_workers.session.checkpoint.saving.streams.sharing import connected, met_in
from skep_workers.session.checkpoint.saving.streams.stream import Stream
from skep_workers.session.checkpoint.saving.streams.stream_pickler import StreamPickler

_CONTAINERS: Final = (dict, list, set, deque, weakref.WeakValueDictionary, weakref.WeakKeyDictionary, weakref.WeakSet)


class GroupPickler:
    """Pickles the variables of one snapshot, in groups."""

    def __init__(self, streams: StreamPickler) -> None:
        self._streams = streams

    def pickle_variables(
        self, values: dict[str, Any], atoms: dict[str, Any] | None = None, joint: Iterable[list[str]] = ()
    ) -> list[Stream]:
        """Return the streams of these variables; reasons of failures are in `lost`.

        Raises TooLarge, Untrusted if in place.
        atoms: variables that can't change. Those whose value another variable holds are removed and join its stream.
        joint: variables that probably belong together; they are grouped without pickling each by itself.
        """
        atoms = {} if atoms is None else atoms
        streams = self._streams
        tops = streams.note_variables([*values.values(), *atoms.values()])
        alone: list[Stream] = []
        for names in joint:
            value = {name: values[name] if name in values else atoms[name] for name in names}
            stream = streams.attempt(names, value, reported_as=SEVERAL)
            if stream is not None:
                alone.append(stream)
                values = values | {name: atoms.pop(name) for name in names if name in atoms}
            else:  # pickling each by itself shows which of them fails
                for name in names:
                    del streams.lost[name]
        done = {name for stream in alone for name in stream.names}
        rest = {name: value for name, value in values.items() if name not in done}
        alone += [stream for name, value in rest.items() if (stream := streams.attempt([name], {name: value}))]
        held = met_in([stream.met for stream in alone], {id(value) for value in atoms.values()} & tops)
        for name in [name for name, value in atoms.items() if id(value) in held]:
            values = values | {name: atoms.pop(name)}
            alone += [stream for stream in [streams.attempt([name], {name: values[name]})] if stream is not None]
        alone = _without_lonely_finalizers(alone, values)
        self._note_owners(alone)
        parts = connected([stream.met for stream in alone], connections([stream.regions for stream in alone]))
        return [stream for part in parts for stream in self._joined([alone[index] for index in part], values)]

    def pickle_again(self, names: list[str], values: dict[str, Any]) -> Stream | None:
        """Return the stream of variables that were pickled before, in another group; None if that fails."""
        return self._streams.attempt(names, {name: values[name] for name in names})

    def pickle_together(self, values: dict[str, Any]) -> Stream | None:
        """Return one stream of values that share nothing that matters; None if one of them fails."""
        stream = self._streams.attempt(list(values), dict(values))
        if stream is None:
            for name in values:
                self._streams.lost.pop(name, None)
        return stream

    def remarks(self, stream: Stream, values: dict[str, Any]) -> dict[str, str]:
        """Return what a restore won't have of this stream's variables, by variable."""
        remarks = stream.notes.remarks
        if not remarks or len(stream.names) == 1:
            return {name: remark for name in stream.names for remark in remarks[:1]}
        alone = [(name, self.pickle_again([name], values)) for name in stream.names]
        return {name: each.notes.remarks[0] for name, each in alone if each is not None and each.notes.remarks}

    def _note_owners(self, alone: list[Stream]) -> None:
        """Note for each definition which variable needs it."""
        owners = self._streams.owners
        for stream in alone:
            owner = stream.names[0] if len(stream.names) == 1 else SEVERAL
            owners |= {key: owner for key in stream.notes.named if owners.get(key, SEVERAL) == SEVERAL}

    def _joined(self, part: list[Stream], values: dict[str, Any]) -> Iterable[Stream]:
        if len(part) == 1:
            return part
        names = [name for stream in part for name in stream.names]
        # Code of cells that makes instances may look for them in such a container, see restoring/loading.py.
        names.sort(key=lambda name: not _is_container(type(values[name])))
        joined = self.pickle_again(names, values)
        if joined is not None:
            return [joined]
        for name in names:
            del self._streams.lost[name]
        return part


def _without_lonely_finalizers(streams: list[Stream], values: dict[str, Any]) -> list[Stream]:
    """Leave out the finalizers of objects that nothing else reaches."""
    finalizers = [stream for stream in streams if stream.names[0].startswith(FINALIZER)]
    if not finalizers:
        return streams
    others = [stream for stream in streams if stream not in finalizers]
    calls = {stream.names[0]: values[stream.names[0]].peek() for stream in finalizers}
    targets = {name: id(call[0]) for name, call in calls.items() if call is not None}
    held = met_in([stream.met for stream in others], set(targets.values()))
    return others + [stream for stream in finalizers if targets.get(stream.names[0]) in held]


def _is_container(kind: type) -> bool:
    # An abstract class hashes the class that it is asked about, which may run code of a metaclass.
    return is_compared_plainly(kind) and issubclass(kind, _CONTAINERS)
