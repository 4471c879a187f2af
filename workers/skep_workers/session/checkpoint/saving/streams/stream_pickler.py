"""Pickling one stream at a time: where it fails, the reason is recorded, and no other stream is affected."""

import io
import pickle
import sys
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

from skep_workers.session.checkpoint.lost_names import describe
from skep_workers.session.checkpoint.reducers.definitions import DefinitionKeys
from skep_workers.session.checkpoint.saving.pickling.kinds import Kinds
from skep_workers.session.checkpoint.saving.pickling.memo import Memo
from skep_workers.session.checkpoint.saving.pickling.references import Prefixed, Reference, owned_in
from skep_workers.session.checkpoint.saving.pickling.shared_memory import NOTHING, Shared
from skep_workers.session.checkpoint.saving.pickling.snapshot_pickler import SnapshotPickler, Untrusted
from skep_workers.session.checkpoint.saving.streams.in_place import (
    IN_PLACE_SECONDS,
    BoundedBuffers,
    BoundedFile,
    TooLarge,
)
from skep_workers.session.checkpoint.saving.streams.progress import Progress
from skep_workers.session.checkpoint.saving.streams.sharing import Met, is_known_by_identity
from skep_workers.session.checkpoint.saving.streams.stream import Stream
from skep_workers.session.safeguards.clock import thread_time


class StreamPickler:
    """Pickles the streams of one snapshot."""

    def __init__(
        self,
        keys: DefinitionKeys,
        *,
        in_place: bool,
        progress: Progress | None = None,
        kinds: Kinds | None = None,
        count_new: Callable[[memoryview], int] = memoryview.nbytes.__get__,
    ) -> None:
        """in_place: raise TooLarge, or Untrusted, for what only a forked child may pickle.

        count_new: returns how many bytes of a buffer have to be hashed.
        """
        self.keys = keys
        self.in_place = in_place
        self.lost: dict[str, str] = {}  # variables that failed, and names in modules, with reasons
        self.owners: dict[str, str] = {}  # key of a definition -> a variable that needs it, or SEVERAL
        self.latest = ""  # the variable that was pickled last
        self.slow = ""  # a variable that took longer than may be spent on it while the session waits
        self._kinds = kinds or Kinds()
        self._progress = progress
        self._count_new = count_new
        self._tops: dict[int, Any] = {}
        self._picklers: list[SnapshotPickler] = []

    def note_variables(self, values: Iterable[Any]) -> AbstractSet[int]:
        """Note the values of variables; return the ids of those whose identity matters though they can't change."""
        self._tops = {id(value): value for value in values if is_known_by_identity(value)}
        return self._tops.keys()

    def attempt(self, names: list[str], value: Any, reported_as: str = "") -> Stream | None:
        """Return the stream of these variables; None, with reasons in `lost`, if one of them fails."""
        self.report(reported_as or names[0])
        started = thread_time()
        try:
            return self.pickle(names, value, keys=self.keys, is_trusting=self.in_place)
        except (TooLarge, Untrusted):
            raise
        except BaseException as exc:  # noqa: BLE001 - user code runs in __reduce__, and may even exit
            self.raise_interrupt(exc)
            for name in names:
                self.lost[name] = describe(exc)
            return None
        finally:
            if thread_time() - started > IN_PLACE_SECONDS:
                self.slow = names[0]

    def reason_against(self, name: str, value: Any) -> str | None:
        """Pickle a part of the stream of definitions by itself; return why that fails, or None."""
        try:
            self.pickle([name], value, keys=None, is_trusting=self.in_place)
        except (TooLarge, Untrusted):
            raise
        except BaseException as exc:  # noqa: BLE001 - user code
            self.raise_interrupt(exc)
            return describe(exc)
        return None

    def pickle(self, names: list[str], value: Any, *, keys: DefinitionKeys | None, is_trusting: bool) -> Stream:
        """Return the stream of a value. Raises whatever its pickling raises."""
        pickle_once = partial(self._pickle_once, names, value, keys, is_trusting)
        try:
            stream = pickle_once(NOTHING, ())
        except (TooLarge, Untrusted):
            raise
        except Exception:
            # What can't be pickled may be an item of a container that a library owns, which needs only a reference.
            known = self._references_of_latest()
            if not known:
                raise
            stream = pickle_once(NOTHING, known)
            return stream if stream.shared is NOTHING else pickle_once(stream.shared, known)
        references = stream.references
        if stream.shared is not NOTHING or references:
            stream = pickle_once(stream.shared, references)
        return stream

    def _references_of_latest(self) -> list[Reference]:
        """Return references to what modules own, of all that the latest pickler has met."""
        pickler = self._picklers[-1]
        return [
            found for found in owned_in(Memo(pickler), sys.maxsize) if id(found.target) not in pickler.notes.referred
        ]

    def _pickle_once(
        self,
        names: list[str],
        value: Any,
        keys: DefinitionKeys | None,
        is_trusting: bool,
        shared: Shared,
        references: Sequence[Reference],
    ) -> Stream:
        buffers: list[pickle.PickleBuffer] = []
        file = BoundedFile() if self.in_place else io.BytesIO()
        pickler = SnapshotPickler(
            file,
            keys=keys,
            is_trusting=is_trusting,
            buffer_callback=BoundedBuffers(buffers, self._count_new).add if self.in_place else buffers.append,
            shared=shared,
            kinds=self._kinds,
        )
        self._picklers.append(pickler)
        pickler.dump(Prefixed(references, value) if references else value)
        memo, data, notes, memory = Memo(pickler), file.getvalue(), pickler.notes, pickler.memory
        owned = references or [found for found in owned_in(memo, len(data)) if id(found.target) not in notes.referred]
        own = {id(part): part for part in value.values() if id(part) in self._tops}
        referred = notes.referred.union(id(reference.target) for reference in owned)
        met = Met(memo, len(data), self._tops.keys(), notes.constants, own | memory.owners, referred)
        return Stream(
            names,
            data,
            buffers,
            met,
            notes,
            memory.to_share(memo),
            memory.regions,
            owned,
            is_of_definitions=keys is None,
        )

    def raise_interrupt(self, exc: BaseException) -> None:
        """Raise a KeyboardInterrupt of the session's own process, which may be the user's.

        In a child only code of users raises one.
        """
        if self.in_place and isinstance(exc, KeyboardInterrupt):
            raise exc

    def report(self, name: str) -> None:
        """Report which variable is being pickled."""
        self.latest = name
        if self._progress is not None:
            self._progress.report(name)

    def clear(self) -> None:
        """Release every value at once: a pickler's memo holds all objects it has met, perhaps in a cycle with it."""
        for pickler in self._picklers:
            pickler.clear_memo()
        self._picklers.clear()
        self._tops = {}
