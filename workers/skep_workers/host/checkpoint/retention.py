"""Which checkpoints of a session are removed: decided here, without I/O.

The latest few are kept, further back the last one of every so many cells, and each one that has a name or a fork. If
these still exceed the budget, the oldest unprotected ones are removed first. The latest one is never removed.
"""

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass

from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.chunks.stored_manifest import Chunk


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """How many checkpoints to keep.

    keep_latest: how many of the latest. keep_every: also keep the last one of every this many cells (0: none), at most
    `every_count` of these.
    """

    keep_latest: int
    keep_every: int
    every_count: int
    budget_bytes: int


class CheckpointHistory:
    """The retained checkpoints, and how much each of them adds to the stored bytes; a chunk counts once."""

    def __init__(self) -> None:
        self._chunks: dict[CheckpointId, dict[bytes, int]] = {}  # own chunks and their stored sizes
        self._manifests: dict[CheckpointId, int] = {}
        self._uploads: set[CheckpointId] = set()  # made from the one before by changing a file
        self._users: Counter[bytes] = Counter()
        self.stored_bytes = 0

    def __len__(self) -> int:
        return len(self._manifests)

    def __contains__(self, checkpoint: CheckpointId) -> bool:
        return checkpoint in self._manifests

    @property
    def checkpoints(self) -> list[CheckpointId]:
        """The checkpoints, oldest first."""
        return sorted(self._manifests)

    @property
    def chunk_names(self) -> Container[bytes]:
        """The session's own chunks that a retained checkpoint names."""
        return self._users.keys()

    def add(
        self, checkpoint: CheckpointId, manifest_bytes: int, chunks: Iterable[Chunk], *, is_upload: bool = False
    ) -> None:
        """Add a checkpoint that is stored; one that is known already is not counted again.

        is_upload: made from the one before by changing a file. It takes no other one's place among the latest.
        """
        if checkpoint in self._manifests:
            return
        if is_upload:
            self._uploads.add(checkpoint)
        own = {name: stored for name, _, stored, home, _ in chunks if home == 0}
        self._chunks[checkpoint], self._manifests[checkpoint] = own, manifest_bytes
        new = own.keys() - self._users.keys()  # mostly few: chunks that a cell left unchanged are not looked at
        self.stored_bytes += manifest_bytes + sum(own[name] for name in new)
        self._users.update(own.keys())

    def remove(self, checkpoints: Iterable[CheckpointId]) -> None:
        """Forget checkpoints that have been removed from Redis."""
        for checkpoint in checkpoints:
            self._uploads.discard(checkpoint)
            own = self._chunks.pop(checkpoint)
            self._users.subtract(own.keys())
            freed = [name for name in own if not self._users[name]]
            self.stored_bytes -= self._manifests.pop(checkpoint) + sum(own[name] for name in freed)
            for name in freed:
                del self._users[name]

    def named_only_by(self, checkpoints: Iterable[CheckpointId]) -> set[bytes]:
        """Return the session's own chunks that no other checkpoint names."""
        uses: Counter[bytes] = Counter()
        for checkpoint in checkpoints:
            uses.update(self._chunks[checkpoint].keys())
        return {name for name, count in uses.items() if count == self._users[name]}

    def to_remove(self, rule: RetentionRule, protected: frozenset[CheckpointId]) -> list[CheckpointId]:
        """Return the checkpoints to remove, oldest first."""
        known = self.checkpoints
        counted = [checkpoint for checkpoint in known if checkpoint not in self._uploads]
        kept = set(counted[-rule.keep_latest :]) | set(known[-1:]) | (protected & self._manifests.keys())
        if rule.keep_every:
            last_of_each = {(checkpoint.seq - 1) // rule.keep_every: checkpoint for checkpoint in counted}
            kept |= set(sorted(last_of_each.values())[-rule.every_count :])
        # Of the uploads after a cell, the last one is kept as long as the cell's own checkpoint is.
        kept_cells = {checkpoint.seq for checkpoint in kept}
        last_uploads = {checkpoint.seq: checkpoint for checkpoint in known if checkpoint in self._uploads}
        kept |= {checkpoint for seq, checkpoint in last_uploads.items() if seq in kept_cells}
        due = [checkpoint for checkpoint in known if checkpoint not in kept]
        remaining = [checkpoint for checkpoint in known if checkpoint in kept]
        return sorted(due + self._over_budget(rule.budget_bytes, due, remaining, protected))

    def _over_budget(
        self,
        budget: int,
        due: list[CheckpointId],
        kept: list[CheckpointId],
        protected: frozenset[CheckpointId],
    ) -> list[CheckpointId]:
        if self.stored_bytes <= budget:
            return []
        left, uses = self.stored_bytes, Counter(self._users)

        def without(checkpoint: CheckpointId) -> int:
            own = self._chunks[checkpoint]
            uses.subtract(own.keys())
            return left - self._manifests[checkpoint] - sum(size for name, size in own.items() if not uses[name])

        for checkpoint in due:
            left = without(checkpoint)
        over = []
        for checkpoint in kept[:-1]:
            if left > budget and checkpoint not in protected:
                left = without(checkpoint)
                over.append(checkpoint)
        return over
