"""The latest checkpoint and the state that it was made of; what follows from them for the next one."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from skep_shared.checkpoints.manifest import Entry, Manifest, replace_entry
from skep_shared.protocol.frames import Saved
from skep_workers.session.checkpoint.reducers.definitions import is_among
from skep_workers.session.checkpoint.state import State
from skep_workers.session.checkpoint.unchanged.fingerprints import fingerprint, is_immutable, same
from skep_workers.session.checkpoint.unchanged.proofs import Proof
from skep_workers.session.compilation.plain_cells import SCALARS

NO_STATE: Final = State({}, {}, [], {}, {}, is_final=False)


class LastSnapshot:
    """The latest checkpoint of a session process.

    manifest: None before the first snapshot. state: without values; `ids` has the values' ids. stored: its chunks.
    sent_apart: snapshots sent on the other socket, of which one may still be on its way.
    """

    def __init__(self, on_saved: Callable[[frozenset[bytes]], None]) -> None:
        """on_saved: is called with the chunks that are stored now."""
        self._on_saved = on_saved
        self._restored: Manifest | None = None  # what this process began with, if it was restored
        self._placed: deque[list[Entry]] = deque()
        self.manifest: Manifest | None = None
        self.stored: frozenset[bytes] = frozenset()
        self.state = NO_STATE
        self.ids: dict[str, int] = {}
        self.proofs: dict[str, Proof] = {}
        self.omits_same = False
        self.sent_apart = 0

    # --- recording ----------------------------------------------------------------------------------------------------

    def adopt(self, manifest: Manifest) -> None:
        """Start from a checkpoint that was restored: its chunks are stored."""
        self._restored = manifest
        self._record_stored(manifest)

    def record(self, manifest: Manifest) -> None:
        """Record a new checkpoint."""
        self.manifest = manifest
        self._record_stored(manifest)

    def record_state(self, state: State, ids: dict[str, int], proofs: dict[str, Proof]) -> None:
        """Record the state, without values, of the latest checkpoint."""
        self.proofs, self.state, self.ids = proofs, state, ids

    def forget(self) -> None:
        """Forget all checkpoints: none of their chunks is stored."""
        self.manifest = self._restored = None
        self.record_state(NO_STATE, {}, {})
        self.stored = frozenset()
        self._on_saved(self.stored)

    def release_values(self) -> None:
        """Hold no value any more."""
        self.proofs = {}

    def note_placed_file(self, files: list[Entry]) -> None:
        """Note a file that the host has placed in the directory and saved already, after its parent directories.

        From any thread; it counts from the next snapshot on.
        """
        self._placed.append(files)

    def apply_placed_files(self) -> None:
        """Update the latest checkpoint as the host has done: the placed files need no saving."""
        while self._placed:
            *directories, file = self._placed.popleft()
            if self.manifest is not None:
                self.manifest = self.manifest.with_entry(file.path, file, directories)
            if self._restored is not None:
                self._restored = self._restored.with_entry(file.path, file, directories)
            files = replace_entry(self.state.files, file.path, file, directories)
            self.state = self.state._replace(files=files)
            if self.base is not None:
                self._record_stored(self.base)

    def _record_stored(self, manifest: Manifest) -> None:
        self.stored = frozenset(manifest.digests())
        self._on_saved(self.stored)

    # --- frames -------------------------------------------------------------------------------------------------------

    def saved(self, manifest: Manifest, blobs: dict[bytes, bytes] | None = None) -> Saved:
        """Record a new checkpoint; return the frame that saves it."""
        self.record(manifest)
        return Saved(manifest.seq, manifest.pack(), blobs or {}, self.sent_apart)

    def unchanged(self, seq: int) -> Saved:
        """Return the frame that reports that the latest checkpoint is still the state."""
        return Saved(seq, b"", {}, self.sent_apart)

    # --- comparing ----------------------------------------------------------------------------------------------------

    @property
    def base(self) -> Manifest | None:
        """The checkpoint taken last, or otherwise the one that was restored."""
        return self.manifest or self._restored

    def is_at(self, manifest: Manifest) -> bool:
        """Return whether this is the checkpoint that was taken last."""
        return self.manifest is not None and self.manifest.pack() == manifest.pack()

    def is_same(self, manifest: Manifest) -> bool:
        """Return whether a manifest equals the one before, where that is not worth a new checkpoint."""
        base = self.base
        return self.omits_same and base is not None and replace(manifest, seq=base.seq).pack() == base.pack()

    def has_same_names(self, state: State) -> bool:
        """Return whether no code can have changed the names since they were saved, or restored."""
        if self.base is None or not state.is_final:
            return False
        if self.manifest is None:
            return True
        return self.state.is_final and state.ids == self.ids and state.ambient == self.state.ambient

    def has_same_surroundings(self, state: State) -> bool:
        """Return whether everything in the state except its names is the same."""
        last = self.state
        is_same = state.ambient == last.ambient and state.files == last.files and state.lost == last.lost
        return is_same and state.packages == last.packages

    def is_unchanged(self, state: State) -> bool:
        """Return whether it can be proved that this is the state of the latest checkpoint."""
        names = state.names
        if self.manifest is None or len(names) != len(self.proofs) or not self.has_same_surroundings(state):
            return False
        proofs = self.proofs
        for name, value in names.items():
            proof = proofs.get(name)
            if proof is None or proof.value is not value:
                return False
            if not is_immutable(value) and not same(proof.fingerprint, fingerprint(value)):
                return False
        return True

    def were_scalars(self, names: set[str]) -> bool:
        """Return whether each of these names was bound to a scalar at the latest checkpoint, or was not bound."""
        proofs = (self.proofs.get(name) for name in names if name in self.ids)
        return all(proof is not None and is_among(type(proof.value), SCALARS) for proof in proofs)

    def may_differ(self, state: State) -> str:
        """Return why the state may differ from the latest checkpoint; '' if it is the same.

        A value that can change is the same object; the caller has to know that nothing has changed it. Only code that
        was left to run when the checkpoint was taken is considered here.
        """
        if not self.state.is_final or not state.is_final:
            return "threads, tasks, timers or signals of user code may have changed the state since"
        is_same = state.ids == self.ids and self.has_same_surroundings(state)
        return "" if is_same else "the state has changed since"
