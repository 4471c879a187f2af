"""Snapshots that the main thread takes while the session waits: of a small state, or of what a plain cell has bound."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from skep_shared.checkpoints.manifest import LOST_PREFIX, Manifest
from skep_shared.protocol.frames import Blob, Frame
from skep_workers.session.checkpoint.saving.assembling import Assembler
from skep_workers.session.checkpoint.saving.history import SnapshotHistory
from skep_workers.session.checkpoint.saving.pickling.snapshot_pickler import Untrusted
from skep_workers.session.checkpoint.saving.rebinding import rebind
from skep_workers.session.checkpoint.saving.streams.in_place import IN_PLACE_BYTES, TooLarge
from skep_workers.session.checkpoint.state import State
from skep_workers.session.checkpoint.unchanged.proofs import Proof
from skep_workers.session.checkpoint.unchanged.unchanged_buffers import KnownBuffers
from skep_workers.session.compilation.plain_cells import SCALARS
from skep_workers.session.runtime.internals import RESULT_NAMES

MOST_BYTES_IN_A_FRAME: Final = IN_PLACE_BYTES * 2  # more is sent as frames of their own


class InPlaceSnapshots:
    """Snapshots taken in the main thread. Each method returns the frames to send, or None if a child has to do it."""

    def __init__(self, history: SnapshotHistory, read_state: Callable[[State | None], State]) -> None:
        self._history = history
        self._last = history.last
        self._read_state = read_state

    def save_bindings(self, seq: int, bound: frozenset[str]) -> list[Frame] | None:
        """Save the names that cells of plain values have bound; None if more may have changed.

        Code that ran at the same time, or at the end of an object, may have changed anything. A name's old value must
        have been a scalar, too: the end of any other object may run code.
        """
        last = self._last
        if last.manifest is None or not last.state.is_final:
            return None
        state = self._read_state(last.state)
        names = state.names
        if not state.is_final or not last.has_same_surroundings(state):
            return None
        if names.keys() < last.ids.keys():
            return None
        compared = [name for name in (*bound, *RESULT_NAMES) if name in names]
        changed = {name for name in compared if id(names[name]) != last.ids.get(name)}
        if not changed:
            return [last.unchanged(seq)] if len(names) == len(last.ids) else None
        if not last.were_scalars(changed) or any(type(names[name]) not in SCALARS for name in changed):
            return None
        rebound = rebind(last.manifest, seq, names, changed)
        if rebound is None:
            return None
        manifest, blobs = rebound
        proofs = last.proofs | {name: Proof(names[name], None) for name in changed}
        saved = last.saved(manifest, {name: data for name, data in blobs.items() if name not in last.stored})
        last.record_state(state.without_values, state.ids, proofs)
        return [saved]

    def save(self, seq: int, state: State, known: KnownBuffers, proofs: dict[str, Proof]) -> list[Frame] | None:
        """Save a whole state; None if it is too much to be pickled while the session waits."""
        blobs: dict[bytes, bytes] = {}
        last = self._last

        def store_chunk(name: bytes, part: memoryview) -> None:
            if name not in last.stored:
                blobs[name] = bytes(part)

        assembler = Assembler(
            store_chunk,
            in_place=True,
            budget_bytes=self._history.limits.state_bytes,
            earlier=self._history.parts.for_next(known),
        )
        names = state.names
        try:
            reasons = self._history.failed_variables.reasons(names)
            manifest = assembler.assemble(seq, state, reasons, self._history.parts.unchanged_groups(names))
        except (TooLarge, Untrusted, Exception) as exc:  # noqa: BLE001 - a child finds out what it is, and fails alone
            self._history.refusals.record_failure(exc, assembler.latest, names)
            return None
        finally:
            assembler.release_values()
        frames = self._frames(manifest, blobs, state, assembler, proofs)
        last.record_state(state.without_values, state.ids, proofs)
        return frames

    def _frames(
        self,
        manifest: Manifest,
        blobs: dict[bytes, bytes],
        state: State,
        assembler: Assembler,
        proofs: dict[str, Proof],
    ) -> list[Frame]:
        last, parts = self._last, self._history.parts
        if last.is_same(manifest):
            return [last.unchanged(manifest.seq)]
        parts.record_groups(manifest, state.ids)
        parts.record_definitions(manifest, assembler.learned_definitions, proofs)
        parts.buffers.record(assembler.learned_buffers)
        self._history.refusals.record_slow(assembler.slow, state.names)
        if last.manifest is not None and manifest == replace(last.manifest, seq=manifest.seq):
            return [last.unchanged(manifest.seq)]
        if sum(map(len, blobs.values())) > MOST_BYTES_IN_A_FRAME:
            return [*(Blob(name, data) for name, data in blobs.items()), last.saved(manifest)]
        return [last.saved(manifest, blobs)]

    def save_files(self, seq: int, state: State) -> list[Frame]:
        """Return the frames that save the latest checkpoint with the present files and packages, if they differ."""
        last, base = self._last, self._last.base
        if base is None:
            return []
        lost = {name: reason for name, reason in base.lost.items() if not name.startswith(LOST_PREFIX)} | state.lost
        if state.files == base.files and lost == base.lost and state.packages == base.packages:
            return []
        manifest = replace(base, seq=seq, files=state.files, packages=state.packages, lost=lost, sizes={})
        runs = (*(entry.chunks for entry in state.files), state.packages.archive)
        names = [name for run in runs for name in run if name not in last.stored]
        blobs = [Blob(name, state.contents[name]) for name in dict.fromkeys(names)]
        return [*blobs, last.saved(manifest)]
