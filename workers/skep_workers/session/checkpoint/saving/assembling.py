"""One snapshot: from the names of a session to a manifest and the chunks that it names.

Runs in the session's main thread for small states, in a forked child for the others. The code is the same; only the
limits differ.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from skep_shared.checkpoints.manifest import Group, Manifest
from skep_workers.session.checkpoint.hidden_names import MODULE, shown_name
from skep_workers.session.checkpoint.reducers.definitions import DefinitionKeys, is_among, is_definition
from skep_workers.session.checkpoint.restoring.restore_trial import TRIAL_SECONDS
from skep_workers.session.checkpoint.saving.chunk_writer import ChunkWriter, StoreChunk, count_new_bytes
from skep_workers.session.checkpoint.saving.known_definitions import KnownDefinitions, LearnedDefinitions
from skep_workers.session.checkpoint.saving.pickling.kinds import Kinds
from skep_workers.session.checkpoint.saving.restore_trials import KnownLive, Trials
from skep_workers.session.checkpoint.saving.streams.definitions import DefinitionPickler
from skep_workers.session.checkpoint.saving.streams.grouping import GroupPickler
from skep_workers.session.checkpoint.saving.streams.module_contents import ImportAgain
from skep_workers.session.checkpoint.saving.streams.progress import TRIAL, Progress
from skep_workers.session.checkpoint.saving.streams.stream import Stream
from skep_workers.session.checkpoint.saving.streams.stream_pickler import StreamPickler
from skep_workers.session.checkpoint.state import State
from skep_workers.session.checkpoint.surroundings.imports.session_imports import import_again
from skep_workers.session.checkpoint.unchanged.fingerprints import is_immutable
from skep_workers.session.checkpoint.unchanged.unchanged_buffers import KnownBuffers, LearnedBuffers
from skep_workers.session.compilation.plain_cells import SCALARS
from skep_workers.session.errors.sources import sources_of

LARGE_ATOM = 64 * 1024


@dataclass(slots=True)
class _SavedDefinitions:
    """The definitions of a snapshot, and the sources of the cells that they are from."""

    stream: Stream | None  # None: they are the ones of the snapshot before
    group: Group | None = None
    sources: Group | None = None
    can_be_known: bool = False


@dataclass(frozen=True, slots=True)
class EarlierSnapshots:
    """What earlier snapshots have shown: the chunks of large buffers, definitions, trials of restoring."""

    buffers: KnownBuffers = field(default_factory=dict)
    definitions: KnownDefinitions | None = None
    trials: Trials = field(default_factory=Trials)


class Assembler:
    """Assembles one snapshot; `store_chunk` is called with the name and the bytes of each chunk."""

    def __init__(
        self,
        store_chunk: StoreChunk,
        *,
        in_place: bool,
        budget_bytes: int,
        earlier: EarlierSnapshots | None = None,
        progress: Progress | None = None,
        trial_seconds: float = TRIAL_SECONDS,
    ) -> None:
        """In place there is no time for a trial of restoring: Untrusted is raised for a class that needs one."""
        earlier = earlier or EarlierSnapshots()
        self._earlier = earlier
        self._chunks = ChunkWriter(store_chunk, earlier.buffers)
        self._budget_bytes = budget_bytes
        self.learned_definitions: LearnedDefinitions | None = None
        self._trial_seconds = trial_seconds
        self._in_place = in_place
        self._progress = progress
        self.imported_again: list[ImportAgain] = []  # modules that can only be saved by their names
        self._begin()

    def _begin(self) -> None:
        trials = self._earlier.trials
        self._keys = DefinitionKeys()
        self._streams = StreamPickler(
            self._keys,
            in_place=self._in_place,
            progress=self._progress,
            kinds=Kinds(trials.shapes, trials.kinds) if self._in_place else Kinds(),
            count_new=partial(count_new_bytes, self._earlier.buffers),
        )
        self._groups = GroupPickler(self._streams)
        self._definition_pickler = DefinitionPickler(self._streams)

    def release_values(self) -> None:
        """Release every value at once; to be called when the manifest is made, or was given up."""
        self._streams.clear()
        self._keys.by_key.clear()

    def assemble(self, seq: int, state: State, skipped: dict[str, str], joint: Iterable[list[str]] = ()) -> Manifest:
        """Return the manifest of this state.

        skipped: names that are not tried again, with the reason. joint: names that shared a stream in the snapshot
        before, and still have the values that they had there.
        """
        joint = list(joint)
        while True:
            try:
                return self._assemble(seq, state, skipped, joint)
            except ImportAgain as found:  # once for each module: from then on it is saved by its name
                self.imported_again.append(found)
                content = import_again(found.module, found.names)
                modules = {
                    name for name, value in state.names.items() if value is found.module and name.startswith(MODULE)
                }
                kept = {name: value for name, value in state.names.items() if name not in modules}
                state = state._replace(names=kept | content)
                self._streams.clear()
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
            group
            for group in joint
            if any(name in others for name in group) and all(name in others or name in small for name in group)
        ]
        streams = self._groups.pickle_variables(others, small, known)
        self._streams.owners |= {key: name for name, key in bindings.items()}
        definitions, streams = self._definitions(self._within_budget(streams), values, small)
        if small:
            streams += self._atoms(small)
        lost = {**skipped, **self._streams.lost}
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
            groups=[
                self._chunks.store(stream) for stream in sorted(streams, key=lambda each: each.notes.restores_by_code)
            ],
            definitions=definitions.group if definitions is not None else None,
            bindings=bindings,
            lost={
                shown_name(name): reason
                for name, reason in (remarks | lost).items()
                if name in names or ":" not in name
            }
            | state.lost,
            is_remade=any(stream.notes.is_remade for stream in streams)
            or (definitions is not None and definitions.stream is not None and definitions.stream.notes.is_remade),
            ambient=self._chunks.store_plain(state.ambient),
            sources=definitions.sources if definitions is not None else None,
            files=self._chunks.store_files(state),
            packages=state.packages,
        )

    def _remarks(
        self, definitions: _SavedDefinitions | None, streams: list[Stream], values: dict[str, Any]
    ) -> dict[str, str]:
        """Return the variables of which a restore will lack a part, with the reason."""
        whole = [
            *streams,
            *([definitions.stream] if definitions is not None and definitions.stream is not None else []),
        ]
        return {name: remark for each in whole for name, remark in self._groups.remarks(each, values).items()}

    def _without_dependents(self, streams: list[Stream], values: dict[str, Any], lost: dict[str, str]) -> list[Stream]:
        """Leave out the variables that need a lost definition."""
        kept = []
        for stream in streams:
            if not stream.notes.named & lost.keys():
                kept.append(stream)
                continue
            left = [name for name in stream.names if not self._needs_lost(name, stream, values, lost)]
            remaining = self._groups.pickle_again(left, values) if left else None
            if remaining is not None:
                kept.append(remaining)
        return kept

    def _needs_lost(self, name: str, stream: Stream, values: dict[str, Any], lost: dict[str, str]) -> bool:
        alone = stream if len(stream.names) == 1 else self._groups.pickle_again([name], values)
        for key in sorted(alone.notes.named & lost.keys()) if alone is not None else ():
            lost[name] = f"it needs {key.partition(':')[2]}, which could not be saved: {lost[key]}"
            return True
        return False

    def _restorable(
        self, definitions: _SavedDefinitions | None, streams: list[Stream], values: dict[str, Any], lost: dict[str, str]
    ) -> list[Stream]:
        """Leave out what a trial shows not to be restorable; return the streams that are left."""
        self._streams.report(TRIAL)
        stream = definitions.stream if definitions is not None else None
        group = definitions.group if definitions is not None else None
        known = KnownLive(b"".join(group.chunks), dict(self._keys.by_key)) if group is not None else None
        failures = self._earlier.trials.run(stream, known, streams, [*lost], self._trial_seconds)
        if not failures:
            return streams
        lost |= failures.names | failures.definitions
        kept = []
        for each in streams:
            left = [name for name in each.names if name not in failures.names]
            is_whole = len(left) == len(each.names)
            remaining = each if is_whole or not left else self._groups.pickle_again(left, values)
            if left and remaining is not None:
                kept.append(remaining)
        if definitions is not None and stream is not None:
            shared = {name: values[name] for name in stream.names if name not in failures.names}
            by_key = {key: value for key, value in self._keys.by_key.items() if key not in lost}
            self._definition_pickler.leave_out(by_key, failures.names)
            definitions.stream = self._definition_pickler.pickle(by_key, shared)
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
            self._streams.lost.update(dict.fromkeys(largest.names, reason))
        return kept

    def _atoms(self, small: dict[str, Any]) -> list[Stream]:
        """Put all small values that can't change into two streams: they are many, and cheap.

        Numbers and texts have a stream of their own: after a cell that only binds such values, nothing else is read.
        """
        scalars = {name: value for name, value in small.items() if is_among(type(value), SCALARS)}
        streams = []
        for part in (scalars, {name: value for name, value in small.items() if name not in scalars}):
            together = self._groups.pickle_together(part) if part else None
            streams += [together] if together is not None else self._groups.pickle_variables(part)
        return streams

    def _definitions(
        self, streams: list[Stream], values: dict[str, Any], small: dict[str, Any]
    ) -> tuple[_SavedDefinitions | None, list[Stream]]:
        """Return the definitions, and the streams that share nothing with them.

        Removes from `small` the values that share something with the definitions.
        """
        if not len(self._keys):
            return None, streams
        known = self._earlier.definitions
        if known is not None and known.are_current(self._keys.by_key, streams, values.values()):
            self.learned_definitions = known.learned
            return _SavedDefinitions(None, known.group, known.sources), streams
        shared: dict[str, Any] = {}
        while True:
            definitions = dict(self._keys.by_key)
            stream = self._definition_pickler.pickle(definitions, shared)
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
        is_whole = (
            not shared and not stream.notes.is_remade and not self._streams.lost.keys() & self._keys.by_key.keys()
        )
        return _SavedDefinitions(stream, can_be_known=is_whole), streams

    def _store_definitions(self, definitions: _SavedDefinitions) -> None:
        stream = definitions.stream
        if stream is None:
            return
        if definitions.can_be_known:
            self.learned_definitions = LearnedDefinitions.of(self._keys.by_key, stream)
        definitions.group = self._chunks.store(stream)
        definitions.sources = self._chunks.store_plain(sources_of(stream.notes.files, stream.notes.classes))

    @property
    def learned_buffers(self) -> LearnedBuffers:
        """The chunks that large buffers consist of."""
        return self._chunks.learned

    @property
    def slow(self) -> str:
        """The variable that took too long to be pickled in place, '' if none did."""
        return self._streams.slow

    @property
    def latest(self) -> str:
        """The variable that was pickled last."""
        return self._streams.latest
