"""One snapshot: from the names of a session to a manifest and the chunks that it names.

Runs in the session's main thread for small states, in a forked child for the others; the code is the same, only the
pickler's patience differs.
"""

import linecache
from collections.abc import Callable, Iterable, Sequence
from pickle import dumps  # bound early: user code may patch pickle
from typing import Any

from skep_workers.session.checkpoint.chunks import CHUNK_BYTES, Digest, split
from skep_workers.session.checkpoint.manifest import Buffer, Group, Manifest
from skep_workers.session.checkpoint.saving.grouping import GroupPickler, Progress, Stream
from skep_workers.session.checkpoint.saving.pickling import DefinitionKeys, is_definition
from skep_workers.session.checkpoint.state import State
from skep_workers.session.checkpoint.surroundings.workspace import Entry
from skep_workers.session.checkpoint.unchanged.fingerprints import is_immutable
from skep_workers.session.checkpoint.unchanged.unchanged_buffers import WATCHED_BYTES, Known, Place, place_of

LARGE_ATOM = 64 * 1024

CELL_PREFIX = "<cell "

PutChunk = Callable[[bytes, memoryview], None]


class Assembler:
    """Puts a snapshot together; `put` gets each chunk's name and bytes."""

    def __init__(
        self,
        put: PutChunk,
        *,
        in_place: bool,
        budget_bytes: int,
        known: Known | None = None,
        progress: Progress | None = None,
    ) -> None:
        """`known`: the names of chunks in large buffers that needn't be hashed again."""
        self._put = put
        self._known = known or {}
        self.learned: dict[Place, list[Digest]] = {}  # what large buffers hold
        self._budget_bytes = budget_bytes
        self._keys = DefinitionKeys()
        self._pickler = GroupPickler(self._keys, in_place=in_place, progress=progress, count_new=self._count_new)

    def assemble(self, seq: int, state: State, skipped: dict[str, str], joint: Iterable[list[str]] = ()) -> Manifest:
        """Give the manifest of this state. `skipped`: names not to be tried again, with the reason.

        joint: names that belonged together in the snapshot before, with the values they had there.
        """
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
        self._pickler.owners = {key: stream.names[0] for stream in streams for key in stream.named}
        self._pickler.owners |= {key: name for name, key in bindings.items()}
        definitions, streams = self._definitions(self._within_budget(streams), values, small)
        if small:
            streams += self._atoms(small)
        lost = {**skipped, **self._pickler.lost}
        streams = [stream for stream in streams if not self._lose_dependent(stream, lost)]
        whole = [*streams, *([definitions] if definitions is not None else [])]
        remarks = {name: remark for each in whole for name, remark in self._pickler.remarks(each, values).items()}
        for name, key in list(bindings.items()):
            if key in lost:
                lost[name] = lost[key]
                del bindings[name]
        return Manifest(
            seq=seq,
            groups=[self._stored(stream) for stream in sorted(streams, key=lambda stream: stream.restores_by_code)],
            definitions=self._stored(definitions) if definitions is not None else None,
            bindings=bindings,
            lost={name: reason for name, reason in (remarks | lost).items() if name in names} | state.lost,
            is_remade=any(stream.is_remade for stream in whole),
            ambient=self._plain(state.ambient),
            sources=self._plain(_sources(definitions.files)) if definitions is not None else None,
            files=self._files(state),
        )

    def _lose_dependent(self, stream: Stream, lost: dict[str, str]) -> bool:
        """Tell whether a stream needs a definition that is lost; then its variables are, too."""
        for key in stream.named & lost.keys():
            reason = f"it needs {key.partition(':')[2]}, which could not be saved: {lost[key]}"
            lost.update(dict.fromkeys(stream.names, reason))
            return True
        return False

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
        """Put all small values that can't change into one stream: they are many, and cheap."""
        together = self._pickler.together(small)
        return [together] if together is not None else self._pickler.variables(small)

    def _definitions(
        self, streams: list[Stream], values: dict[str, Any], small: dict[str, Any]
    ) -> tuple[Stream | None, list[Stream]]:
        """Give the stream of definitions, and the streams that share nothing with it; takes from `small`, too."""
        if not len(self._keys):
            return None, streams
        shared: dict[str, Any] = {}
        while True:
            definitions = dict(self._keys.by_key)
            stream = self._pickler.definitions(definitions, shared)
            met = stream.met.objects()
            apart = [other for other in streams if not other.met.among(met)]
            held = [name for name, value in small.items() if id(value) in met]
            if len(apart) == len(streams) and not held:
                return stream, streams
            shared.update({name: small.pop(name) for name in held})
            for other in streams:
                if other not in apart:
                    shared.update({name: values[name] for name in other.names})
            streams = apart

    @property
    def latest(self) -> str:
        """The variable that was pickled last."""
        return self._pickler.progress_at()

    def _plain(self, value: Any) -> Group:
        return Group([], self._put_all(dumps(value, protocol=5)))

    def _stored(self, stream: Stream) -> Group:
        chunks = self._put_all(stream.data)
        buffers = [Buffer(self._put_buffer(buffer.raw()), buffer.raw().readonly) for buffer in stream.buffers]
        return Group(stream.names, chunks, buffers, sorted(stream.named))

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

    def _count_new(self, view: memoryview) -> int:
        """Tell how many bytes of a buffer have to be hashed."""
        known = self._known.get(place_of(view)) if view.nbytes >= WATCHED_BYTES else None
        return view.nbytes if known is None else known.count(None) * CHUNK_BYTES


def _sources(files: set[str]) -> dict[str, str]:
    """Give the source of the cells that code came from, for tracebacks after a restore."""
    known = {name: linecache.cache.get(name) for name in sorted(files) if name.startswith(CELL_PREFIX)}
    return {name: "".join(entry[2]) for name, entry in known.items() if entry is not None and len(entry) == 4}
