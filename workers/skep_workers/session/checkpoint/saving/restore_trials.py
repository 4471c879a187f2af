"""Which streams of a snapshot need a trial of restoring, and what earlier trials have shown.

A trial costs a fork, so it is made only for streams that may fail, and once: for code in classes of cells once for each
content, for classes of libraries once for each class. A stream that our own code alone restores needs no trial.
"""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple, Self

from skep_shared.checkpoints.content_chunks import digest
from skep_workers.session.checkpoint.reducers.definitions import registry
from skep_workers.session.checkpoint.restoring.loading import StoredStream
from skep_workers.session.checkpoint.restoring.restore_trial import NO_TIME, RestoreFailures, RestoreTrial
from skep_workers.session.checkpoint.saving.pickling.kinds import shape
from skep_workers.session.checkpoint.saving.streams.stream import Stream

MOST_NOTED: Final = 10_000
LARGE_BYTES: Final = 256 * 1024 * 1024  # a larger stream is not tried: the second copy costs too much


@dataclass(slots=True)
class TrialFindings:
    """What trials have shown.

    streams: by content, the variables and definitions that can't be restored, with reasons. kinds: classes of
    libraries, by name, whose instances can be restored. shapes: of cells' classes that can be restored.
    """

    streams: dict[bytes, tuple[dict[str, str], dict[str, str]]] = field(default_factory=dict)
    kinds: set[str] = field(default_factory=set)
    shapes: set[str] = field(default_factory=set)

    def add(self, other: "TrialFindings") -> None:
        """Add other findings; the oldest ones are forgotten beyond MOST_NOTED."""
        for mine, theirs in ((self.kinds, other.kinds), (self.shapes, other.shapes)):
            mine.update(theirs)
            while len(mine) > MOST_NOTED:
                mine.pop()
        self.streams |= other.streams
        while len(self.streams) > MOST_NOTED:
            del self.streams[next(iter(self.streams))]

    def pack(self) -> list[Any]:
        """Return plain data for `unpack`."""
        return [self.streams, list(self.kinds), list(self.shapes)]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Self:
        """Return the findings that `pack` was called on."""
        streams, kinds, shapes = packed
        return cls({name: (names, keys) for name, (names, keys) in streams.items()}, set(kinds), set(shapes))


class KnownLive(NamedTuple):
    """Definitions that are saved already: a digest of their content, and the live definitions by key."""

    digest: bytes
    by_key: dict[str, Any]


class Trials:
    """The trials of one session, and what they have shown."""

    def __init__(self) -> None:
        self._known = TrialFindings()
        self.is_hasty = False  # the latest snapshot ran out of time over a trial: untried streams count as failed
        self.latest = TrialFindings()  # what this process has found, for the process that it was forked from

    @property
    def shapes(self) -> AbstractSet[str]:
        """The shapes of cells' classes that are known to be restorable."""
        return self._known.shapes

    @property
    def kinds(self) -> AbstractSet[str]:
        """The names of library classes whose instances are known to be restorable."""
        return self._known.kinds

    def record(self, findings: TrialFindings) -> None:
        """Record what a child process has found."""
        self._known.add(findings)

    def run(
        self,
        definitions: Stream | None,
        known: KnownLive | None,
        streams: list[Stream],
        lost: Iterable[str],
        seconds: float,
    ) -> RestoreFailures:
        """Return which of these variables and definitions can't be restored; try for `seconds` at most.

        known: the definitions, where they are saved already. lost: variables that a restore will not have.
        """
        base = digest(definitions.data) if definitions is not None else known.digest if known is not None else b""
        doubtful = {digest(base + digest(s.data)): s for s in streams if self._is_doubtful(s)}
        if definitions is not None and self._is_doubtful(definitions):
            doubtful[base] = definitions
        found = RestoreFailures()
        for name in doubtful:
            names, keys = self._known.streams.get(name, ({}, {}))
            found.names |= names
            found.definitions |= keys
        wanted = {name: stream for name, stream in doubtful.items() if name not in self._known.streams}
        if wanted:
            groups = [stream for stream in wanted.values() if stream is not definitions]
            failures: RestoreFailures | None
            if self.is_hasty:
                failures = RestoreFailures({name: NO_TIME for stream in groups for name in stream.names})
            else:
                failures = self._try(definitions, groups, partial(_prepare, lost, known), seconds)
            if failures is not None:  # otherwise they are saved untried: they may well be restorable
                self._record_trial(failures, wanted)
                found.names |= failures.names
                found.definitions |= failures.definitions
        return found

    def _is_doubtful(self, stream: Stream) -> bool:
        notes, known = stream.notes, self._known
        is_new = not known.shapes.issuperset(map(shape, notes.classes)) or not notes.unknown <= known.kinds
        return (notes.restores_by_code or is_new) and stream.size_bytes <= LARGE_BYTES

    def _try(
        self, definitions: Stream | None, groups: list[Stream], prepare: Callable[[], None], seconds: float
    ) -> RestoreFailures | None:
        finalized = {kind for stream in groups for kind in stream.notes.finalized}
        if definitions is not None:
            finalized |= definitions.notes.finalized
        to_load = None if definitions is None else _to_load(definitions)
        return RestoreTrial(to_load, [_to_load(stream) for stream in groups], prepare, finalized, seconds).run()

    def _record_trial(self, failures: RestoreFailures, tried: dict[bytes, Stream]) -> None:
        for digest_, stream in tried.items():
            names = {name: reason for name, reason in failures.names.items() if name in stream.names}
            keys = failures.definitions if stream.is_of_definitions else {}
            self.latest.streams[digest_] = (names, keys)
            if not names and not keys:
                self.latest.kinds |= stream.notes.unknown
                self.latest.shapes.update(map(shape, stream.notes.classes))
        self._known.add(self.latest)


def _to_load(stream: Stream) -> StoredStream:
    # No copy is needed: the process that loads it is a fork, whose writes are its own.
    return StoredStream(stream.data, [buffer.raw() for buffer in stream.buffers], stream.is_tolerant, stream.names)


def _prepare(lost: Iterable[str], known: KnownLive | None) -> None:
    """Bring a trial process into the state that a restoring process will be in."""
    names: dict[Any, Any] = registry.names
    for name in lost:
        names.pop(name, None)
    if known is not None:
        registry.definitions = known.by_key
