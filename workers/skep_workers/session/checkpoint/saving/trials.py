"""Which parts of a snapshot need a trial of restoring, and what earlier trials have shown.

A trial costs a fork, so it is made only for what may fail, and once: of code in classes of cells for each content, of
classes of libraries once for each of them. What is made again by our own code alone needs none.
"""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple, Self

from skep_shared.content_chunks import digest
from skep_workers.session.checkpoint.reducers.definitions import registry
from skep_workers.session.checkpoint.restoring import loading
from skep_workers.session.checkpoint.restoring.trial import NO_TIME, Failures, Trial
from skep_workers.session.checkpoint.saving.grouping import Stream
from skep_workers.session.checkpoint.saving.kinds import shape

MOST_NOTED: Final = 10_000
LARGE_BYTES: Final = 256 * 1024 * 1024  # beyond it a second copy costs more than it tells


@dataclass(slots=True)
class Findings:
    """What trials have shown: streams by their content, with what can't be restored of them; and what can be."""

    streams: dict[bytes, tuple[dict[str, str], dict[str, str]]] = field(default_factory=dict)
    kinds: set[str] = field(default_factory=set)  # classes of libraries, by name
    shapes: set[str] = field(default_factory=set)  # of classes of cells

    def add(self, other: "Findings") -> None:
        """Take more; what is oldest is forgotten beyond MOST_NOTED."""
        for mine, theirs in ((self.kinds, other.kinds), (self.shapes, other.shapes)):
            mine.update(theirs)
            while len(mine) > MOST_NOTED:
                mine.pop()
        self.streams |= other.streams
        while len(self.streams) > MOST_NOTED:
            del self.streams[next(iter(self.streams))]

    def pack(self) -> list[Any]:
        """Return plain data that `unpack` takes."""
        return [self.streams, list(self.kinds), list(self.shapes)]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Self:
        """Return what `pack` was called on."""
        streams, kinds, shapes = packed
        return cls({name: (names, keys) for name, (names, keys) in streams.items()}, set(kinds), set(shapes))


class KnownLive(NamedTuple):
    """Definitions that are saved already: what tells their content, and they themselves, by key."""

    digest: bytes
    by_key: dict[str, Any]


class Trials:
    """The trials of one session, and what they have shown."""

    def __init__(self) -> None:
        self._known = Findings()
        self.is_hasty = False  # the latest snapshot ran out of time over a trial: what is new counts as failed
        self.latest = Findings()  # what this process has found, for the one that it was forked from

    @property
    def shapes(self) -> AbstractSet[str]:
        """The shapes of classes that are known to be restorable."""
        return self._known.shapes

    @property
    def kinds(self) -> AbstractSet[str]:
        """The names of libraries' classes whose instances are known to be restorable."""
        return self._known.kinds

    def adopt(self, findings: Findings) -> None:
        """Take what a child process has found."""
        self._known.add(findings)

    def run(
        self,
        definitions: Stream | None,
        known: KnownLive | None,
        streams: list[Stream],
        lost: Iterable[str],
        seconds: float,
    ) -> Failures:
        """Return what can't be restored of these, within so many seconds.

        known: the definitions, where they are saved already. lost: variables that a restore will not have.
        """
        base = digest(definitions.data) if definitions is not None else known.digest if known is not None else b""
        doubtful = {digest(base + digest(s.data)): s for s in streams if self._is_doubtful(s)}
        if definitions is not None and self._is_doubtful(definitions):
            doubtful[base] = definitions
        found = Failures()
        for name in doubtful:
            names, keys = self._known.streams.get(name, ({}, {}))
            found.names |= names
            found.definitions |= keys
        wanted = {name: stream for name, stream in doubtful.items() if name not in self._known.streams}
        if wanted:
            groups = [stream for stream in wanted.values() if stream is not definitions]
            failures: Failures | None
            if self.is_hasty:
                failures = Failures({name: NO_TIME for stream in groups for name in stream.names})
            else:
                failures = self._try(definitions, groups, partial(_prepare, lost, known), seconds)
            if failures is not None:  # else it is saved untried: it may well be restorable
                self._note(failures, wanted)
                found.names |= failures.names
                found.definitions |= failures.definitions
        return found

    def _is_doubtful(self, stream: Stream) -> bool:
        is_new = (
            not self._known.shapes.issuperset(map(shape, stream.classes)) or not stream.unknown <= self._known.kinds
        )
        return (stream.restores_by_code or is_new) and stream.size_bytes <= LARGE_BYTES

    def _try(
        self, definitions: Stream | None, groups: list[Stream], prepare: Callable[[], None], seconds: float
    ) -> Failures | None:
        finalized = {kind for stream in groups for kind in stream.finalized}
        if definitions is not None:
            finalized |= definitions.finalized
        to_load = None if definitions is None else _to_load(definitions)
        return Trial(to_load, [_to_load(stream) for stream in groups], prepare, finalized, seconds).run()

    def _note(self, failures: Failures, tried: dict[bytes, Stream]) -> None:
        for digest_, stream in tried.items():
            names = {name: reason for name, reason in failures.names.items() if name in stream.names}
            keys = failures.definitions if stream.is_of_definitions else {}
            self.latest.streams[digest_] = (names, keys)
            if not names and not keys:
                self.latest.kinds |= stream.unknown
                self.latest.shapes.update(map(shape, stream.classes))
        self._known.add(self.latest)


def _to_load(stream: Stream) -> loading.Stream:
    # Not a copy: the process that reads it is a fork, whose writes are its own.
    return loading.Stream(stream.data, [buffer.raw() for buffer in stream.buffers], stream.is_tolerant, stream.names)


def _prepare(lost: Iterable[str], known: KnownLive | None) -> None:
    """Have a trial process be as a restoring one will be."""
    names: dict[Any, Any] = registry.names
    for name in lost:
        names.pop(name, None)
    if known is not None:
        registry.definitions = known.by_key
