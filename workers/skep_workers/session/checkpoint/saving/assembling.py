"""One snapshot: from the names of a session to a manifest and the chunks that it names.

Runs in the session's main thread for small states, in a forked child for the others; the code is the same, only the
pickler's patience differs.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pickle import dumps  # bound early: user code may patch pickle
from typing import Any

from skep_shared.content_chunks import CHUNK_BYTES, Digest, split
from skep_workers.session.checkpoint.hidden_names import MODULE, told
from skep_workers.session.checkpoint.manifest import Buffer, Group, Manifest
from skep_workers.session.checkpoint.restoring.trial import TRIAL_SECONDS
from skep_workers.session.checkpoint.saving.grouping import GroupPickler, Progress, Stream
from skep_workers.session.checkpoint.saving.kinds import Kinds
from skep_workers.session.checkpoint.saving.known_definitions import KnownDefinitions, Learned
from skep_workers.session.checkpoint.saving.module_contents import ImportAgain
from skep_workers.session.checkpoint.saving.pickling import DefinitionKeys, is_definition
from skep_workers.session.checkpoint.saving.trials import KnownLive, Trials
from skep_workers.session.checkpoint.state import State
from skep_workers.session.checkpoint.surroundings.imports import import_again
from skep_workers.session.checkpoint.surroundings.workspace import Entry
from skep_workers.session.checkpoint.unchanged.fingerprints import is_immutable
from skep_workers.session.checkpoint.unchanged.unchanged_buffers import WATCHED_BYTES, Known, Place, place_of
from skep_workers.session.sources import sources_of
from skep_workers.session.uses import SCALARS

LARGE_ATOM = 64 * 1024

PutChunk = Callable[[bytes, memoryview], None]


@dataclass(slots=True)
class _Definitions:
    """The definitions of a snapshot, and the sources of the cells that they are from."""

    stream: Stream | None  # None: they are the ones of the snapshot before
    group: Group | None = None
    sources: Group | None = None
    can_be_known: bool = False


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier snapshots have shown: the names of chunks in large buffers, definitions, trials of restoring."""

    buffers: Known = field(default_factory=dict)
    definitions: KnownDefinitions | None = None
    trials: Trials = field(default_factory=Trials)


class Assembler:
    """Puts a snapshot together; `put` gets each chunk's name and bytes."""

    def __init__(
        self,
        put: PutChunk,
        *,
        in_place: bool,
        budget_bytes: int,
        earlier: Earlier | None = None,
        progress: Progress | None = None,
        trial_seconds: float = TRIAL_SECONDS,
    ) -> None:
        """In place there is no time for a trial of restoring: Untrusted is raised for what needs one."""
        earlier = earlier or Earlier()
        self._put = put
        self._known = earlier.buffers
        self.learned: dict[Place, list[Digest]] = {}  # what large buffers hold
        self._budget_bytes = budget_bytes
        self._known_definitions = earlier.definitions
        self.learned_definitions: Learned | None = None
        self._trials = earlier.trials
        self._trial_seconds = trial_seconds
        self._in_place = in_place
        self._progress = progress
        self.imported_again: list[ImportAgain] = []  # modules that turned out to be saved by their names only
        self._begin()

    def _begin(self) -> None:
        self._keys = DefinitionKeys()
        kinds = Kinds(self._trials.shapes, self._trials.kinds) if self._in_place else Kinds()
        self._pickler = GroupPickler(
            self._keys,
            in_place=self._in_place,
            progress=self._progress,
            kinds=kinds,
            count_new=partial(_count_new, self._known),
        )

    def close(self) -> None:
        """Let go of every value at once; to be called when the manifest is made, or was given up."""
        self._pickler.close()
        self._keys.by_key.clear()

    def assemble(self, seq: int, state: State, skipped: dict[str, str], joint: Iterable[list[str]] = ()) -> Manifest:
        """Give the manifest of this state. `skipped`: names not to be tried again, with the reason.

        joint: names that belonged together in the snapshot before, with the values they had there.
        """
        joint = list(joint)
        while True:
            try:
                return self._assemble(seq, state, skipped, joint)
            except ImportAgain as found:  # each module once: it is by name then
                self.imported_again.append(found)
                content = import_again(found.module, found.names)
                modules = {
                    name for name, value in state.names.items() if value is found.module and name.startswith(MODULE)
                }
                kept = {name: value for name, value in state.names.items() if name not in modules}
                state = state._replace(names=kept | content)
                self._pickler.close()
                self._begin()

    def _assemble(self, seq: int, state: State, skipped: dict[str, str], joint: Iterable[list[str]]) -> Manifest:
        names = state.names
        values = {name: value for name, value in names.items() if name not in skipped}
        bindings = {name: self._keys.key(value) for name, value in values.items() if is_definition(value)}
        atoms = {name: value for name, value in values.items() if name not in bindings and is_immutable(value)}
        large = {
            name: value for name, value in atoms.items() if isinstance(value, str | bytes) and len(value) > LARGE_ATOM
        }
        small = {name: value for name, value in atoms.items() if name not in large}
        others = {name: value for name, value in values.items() if name not in bindings and name not in atoms}
        others |= large
        known = [
            names
            for names in joint
            if any(name in others for name in names) and all(name in others or name in small for name in names)
        ]
        streams = self._pickler.variables(others, small, known)
        self._pickler.owners |= {key: name for name, key in bindings.items()}
        definitions, streams = self._definitions(self._within_budget(streams), values, small)
        if small:
            streams += self._atoms(small)
        lost = {**skipped, **self._pickler.lost}
        streams = self._without_dependents(streams, values, lost)
        if not self._in_place:
            streams = self._restorable(definitions, streams, values, lost)
            streams = self._without_dependents(streams, values, lost)
        remarks = self._remarks(definitions, streams, values)
        if definitions is not None:
            self._store_definitions(definitions)
        for name, key in list(bindings.items()):
            if key in lost:
                lost[name] = lost[key]
                del bindings[name]
        return Manifest(
            seq=seq,
            groups=[self._stored(stream) for stream in sorted(streams, key=lambda stream: stream.restores_by_code)],
            definitions=definitions.group if definitions is not None else None,
            bindings=bindings,
            lost={told(name): reason for name, reason in (remarks | lost).items() if name in names or ":" not in name}
            | state.lost,
            is_remade=any(stream.is_remade for stream in streams)
            or (definitions is not None and definitions.stream is not None and definitions.stream.is_remade),
            ambient=self._plain(state.ambient),
            sources=definitions.sources if definitions is not None else None,
            files=self._files(state),
        )

    def _remarks(
        self, definitions: _Definitions | None, streams: list[Stream], values: dict[str, Any]
    ) -> dict[str, str]:
        """Return what of variables a restore won't have though it has the variables, with the reason."""
        whole = [
            *streams,
            *([definitions.stream] if definitions is not None and definitions.stream is not None else []),
        ]
        return {name: remark for each in whole for name, remark in self._pickler.remarks(each, values).items()}

    def _without_dependents(self, streams: list[Stream], values: dict[str, Any], lost: dict[str, str]) -> list[Stream]:
        """Leave out the variables that need a definition which is lost."""
        kept = []
        for stream in streams:
            if not stream.named & lost.keys():
                kept.append(stream)
                continue
            left = [name for name in stream.names if not self._needs_lost(name, stream, values, lost)]
            remaining = self._pickler.again(left, values) if left else None
            if remaining is not None:
                kept.append(remaining)
        return kept

    def _needs_lost(self, name: str, stream: Stream, values: dict[str, Any], lost: dict[str, str]) -> bool:
        alone = stream if len(stream.names) == 1 else self._pickler.again([name], values)
        for key in sorted(alone.named & lost.keys()) if alone is not None else ():
            lost[name] = f"it needs {key.partition(':')[2]}, which could not be saved: {lost[key]}"
            return True
        return False

    def _restorable(
        self, definitions: _Definitions | None, streams: list[Stream], values: dict[str, Any], lost: dict[str, str]
    ) -> list[Stream]:
        """Leave out what a restore can't make again, as a trial shows; returns the streams that are left."""
        self._pickler.tell_trial()
        stream = definitions.stream if definitions is not None else None
        group = definitions.group if definitions is not None else None
        known = KnownLive(b"".join(group.chunks), dict(self._keys.by_key)) if group is not None else None
        failures = self._trials.run(stream, known, streams, [*lost], self._trial_seconds)
        if not failures:
            return streams
        lost |= failures.names | failures.definitions
        kept = []
        for each in streams:
            left = [name for name in each.names if name not in failures.names]
            is_whole = len(left) == len(each.names)
            remaining = each if is_whole or not left else self._pickler.again(left, values)
            if left and remaining is not None:
                kept.append(remaining)
        if definitions is not None and stream is not None:
            shared = {name: values[name] for name in stream.names if name not in failures.names}
            by_key = {key: value for key, value in self._keys.by_key.items() if key not in lost}
            self._pickler.leave_out(by_key, failures.names)
            definitions.stream = self._pickler.definitions(by_key, shared)
            definitions.can_be_known = False
        return kept

    def _within_budget(self, streams: list[Stream]) -> list[Stream]:
        """Leave the largest out until the rest fits."""
        excess = sum(stream.size_bytes for stream in streams) - self._budget_bytes
        kept = sorted(streams, key=lambda stream: stream.size_bytes)
        while excess > 0 and kept:
            largest = kept.pop()
            excess -= largest.size_bytes
            reason = f"its {largest.size_bytes} bytes take the state over the budget of {self._budget_bytes} bytes"
            self._pickler.lost.update(dict.fromkeys(largest.names, reason))
        return kept

    def _files(self, state: State) -> list[Entry]:
        for entry in state.files:
            for name in entry.chunks:
                if name in state.contents:
                    self._put(name, memoryview(state.contents[name]))
        return state.files

    def _atoms(self, small: dict[str, Any]) -> list[Stream]:
        """Put all small values that can't change into two streams: they are many, and cheap.

        Numbers and texts have one of their own: after a cell that only binds such, nothing else is looked at.
        """
        scalars = {name: value for name, value in small.items() if type(value) in SCALARS}
        streams = []
        for part in (scalars, {name: value for name, value in small.items() if name not in scalars}):
            together = self._pickler.together(part) if part else None
            streams += [together] if together is not None else self._pickler.variables(part)
        return streams

    def _definitions(
        self, streams: list[Stream], values: dict[str, Any], small: dict[str, Any]
    ) -> tuple[_Definitions | None, list[Stream]]:
        """Give the definitions, saved, and the streams that share nothing with them; takes from `small`, too."""
        if not len(self._keys):
            return None, streams
        known = self._known_definitions
        if known is not None and known.are(self._keys.by_key, streams, values.values()):
            self.learned_definitions = known.learned
            return _Definitions(None, known.group, known.sources), streams
        shared: dict[str, Any] = {}
        while True:
            definitions = dict(self._keys.by_key)
            stream = self._pickler.definitions(definitions, shared)
            met = stream.met.objects()
            apart = [other for other in streams if not other.met.among(met)]
            held = [name for name, value in small.items() if id(value) in met]
            if len(apart) == len(streams) and not held:
                break
            shared.update({name: small.pop(name) for name in held})
            for other in streams:
                if other not in apart:
                    shared.update({name: values[name] for name in other.names})
            streams = apart
        is_whole = not shared and not stream.is_remade and not self._pickler.lost.keys() & self._keys.by_key.keys()
        return _Definitions(stream, can_be_known=is_whole), streams

    def _store_definitions(self, definitions: _Definitions) -> None:
        stream = definitions.stream
        if stream is None:
            return
        if definitions.can_be_known:
            self.learned_definitions = Learned.of(self._keys.by_key, stream)
        definitions.group = self._stored(stream)
        definitions.sources = self._plain(sources_of(stream.files, stream.classes))

    @property
    def slow(self) -> str:
        """The variable that took too long to be pickled in place, '' if none did."""
        return self._pickler.slow

    @property
    def latest(self) -> str:
        """The variable that was pickled last."""
        return self._pickler.progress_at()

    def _plain(self, value: Any) -> Group:
        return Group([], self._put_all(dumps(value, protocol=5)))

    def _stored(self, stream: Stream) -> Group:
        chunks = self._put_all(stream.data)
        buffers = [Buffer(self._put_buffer(buffer.raw()), buffer.raw().readonly) for buffer in stream.buffers]
        return Group(stream.names, chunks, buffers, sorted(stream.named), stream.is_tolerant)

    def _put_buffer(self, view: memoryview) -> list[Digest]:
        if view.nbytes < WATCHED_BYTES:
            return self._put_all(view)
        place = place_of(view)
        self.learned[place] = digests = self._put_all(view, self._known.get(place, ()))
        return digests

    def _put_all(self, data: bytes | memoryview, known: Sequence[Digest | None] = ()) -> list[Digest]:
        digests = []
        for name, part in split(data, known):
            self._put(name, part)
            digests.append(name)
        return digests


def _count_new(known: Known, view: memoryview) -> int:
    """Return how many bytes of a buffer have to be hashed."""
    digests = known.get(place_of(view)) if view.nbytes >= WATCHED_BYTES else None
    return view.nbytes if digests is None else digests.count(None) * CHUNK_BYTES
