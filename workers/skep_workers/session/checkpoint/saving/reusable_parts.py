"""What earlier snapshots have shown that makes the next one cheaper."""

from collections.abc import Mapping
from typing import Any, Final

from skep_shared.checkpoints.manifest import Manifest
from skep_workers.session.checkpoint.saving.assembling import EarlierSnapshots
from skep_workers.session.checkpoint.saving.known_definitions import KnownDefinitions, LearnedDefinitions
from skep_workers.session.checkpoint.saving.restore_trials import Trials
from skep_workers.session.checkpoint.unchanged.proofs import Proof
from skep_workers.session.checkpoint.unchanged.unchanged_buffers import KnownBuffers, UnchangedBuffers

MOST_JOINT: Final = 100  # names in a group; a larger one is mostly that of all the small values


class ReusableParts:
    """Groups of variables, definitions, large buffers and trials of earlier snapshots."""

    def __init__(self) -> None:
        self.buffers = UnchangedBuffers()
        self._trials = Trials()
        self._definitions: KnownDefinitions | None = None
        self._joint: list[dict[str, int]] = []  # names that shared a stream in the last snapshot, with the values' ids

    def for_next(self, buffers: KnownBuffers) -> EarlierSnapshots:
        """Return what the next snapshot can use. buffers: the result of `buffers.find_unchanged`."""
        return EarlierSnapshots(buffers, self._definitions, self._trials)

    def unchanged_groups(self, names: dict[str, Any]) -> list[list[str]]:
        """Return the groups of the last snapshot whose names have values with the same ids."""
        return [list(group) for group in self._joint if all(id(names.get(n)) == number for n, number in group.items())]

    def record_groups(self, manifest: Manifest, ids: Mapping[str, int]) -> None:
        """Record which variables share a stream."""
        groups = (group.names for group in manifest.groups if 1 < len(group.names) <= MOST_JOINT)
        self._joint = [{name: ids[name] for name in group} for group in groups if ids.keys() >= set(group)]

    def forget_groups(self) -> None:
        """Forget which variables share a stream: pickling them together has failed."""
        self._joint = []

    def record_definitions(
        self, manifest: Manifest, learned: LearnedDefinitions | None, proofs: Mapping[str, Proof]
    ) -> None:
        """Record the definitions of a snapshot. proofs: of the state when it began."""
        self._definitions = None
        if learned is not None and manifest.definitions is not None and manifest.sources is not None:
            found = {id(proof.value): proof.fingerprint for proof in proofs.values() if proof.fingerprint is not None}
            self._definitions = learned.known(found, manifest.definitions, manifest.sources)

    def forget_stored(self) -> None:
        """Forget everything that is known to be stored."""
        self._definitions = None
        self.buffers.record({})

    def begin_as_twin(self) -> None:
        """Continue in a fork of the process."""
        self._definitions = None
        self.buffers.begin_as_twin()
