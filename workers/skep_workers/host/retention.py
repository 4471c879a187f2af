"""Which checkpoints of a session go: decided here, without I/O.

The latest few are kept, beyond them the last one of every so many cells, and whatever has a name or a fork. If what is
left is still more than the budget, the oldest of what isn't protected go first. The latest always stays.
"""

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass

from skep_shared.manifests import Chunk


@dataclass(frozen=True, slots=True)
class Rule:
    """keep_latest: how many; keep_every: the last one of this many cells too (0: none), `every_count` of these."""

    keep_latest: int
    keep_every: int
    every_count: int
    budget_bytes: int


class History:
    """The checkpoints that are kept, and what each adds to what is stored; a chunk counts once."""

    def __init__(self) -> None:
        self._chunks: dict[int, dict[bytes, int]] = {}  # by seq: own chunks and their stored sizes
        self._manifests: dict[int, int] = {}
        self._users: Counter[bytes] = Counter()
        self.stored_bytes = 0

    def __len__(self) -> int:
        return len(self._manifests)

    def __contains__(self, seq: int) -> bool:
        return seq in self._manifests

    @property
    def seqs(self) -> list[int]:
        """The checkpoints, oldest first."""
        return sorted(self._manifests)

    @property
    def chunk_names(self) -> Container[bytes]:
        """The session's own chunks that a kept checkpoint names."""
        return self._users.keys()

    def add(self, seq: int, manifest_bytes: int, chunks: Iterable[Chunk]) -> None:
        """Take a checkpoint that is there; one that is known already is not counted again."""
        if seq in self._manifests:
            return
        own = {name: stored for name, _, stored, home, _ in chunks if home == 0}
        self._chunks[seq], self._manifests[seq] = own, manifest_bytes
        new = own.keys() - self._users.keys()  # mostly few: what a cell leaves as it was is not looked at one by one
        self.stored_bytes += manifest_bytes + sum(own[name] for name in new)
        self._users.update(own.keys())

    def remove(self, seqs: Iterable[int]) -> None:
        """Forget checkpoints that have been removed."""
        for seq in seqs:
            own = self._chunks.pop(seq)
            self._users.subtract(own.keys())
            freed = [name for name in own if not self._users[name]]
            self.stored_bytes -= self._manifests.pop(seq) + sum(own[name] for name in freed)
            for name in freed:
                del self._users[name]

    def named_only_by(self, seqs: Iterable[int]) -> set[bytes]:
        """Give the session's own chunks that no other checkpoint names."""
        uses: Counter[bytes] = Counter()
        for seq in seqs:
            uses.update(self._chunks[seq].keys())
        return {name for name, count in uses.items() if count == self._users[name]}

    def to_remove(self, rule: Rule, protected: frozenset[int]) -> list[int]:
        """Give the checkpoints that go, oldest first."""
        seqs = self.seqs
        kept = set(seqs[-rule.keep_latest :]) | (protected & self._manifests.keys())
        if rule.keep_every:
            last_of_each = {(seq - 1) // rule.keep_every: seq for seq in seqs}
            kept |= set(sorted(last_of_each.values())[-rule.every_count :])
        gone = [seq for seq in seqs if seq not in kept]
        return sorted(gone + self._over_budget(rule.budget_bytes, gone, [s for s in seqs if s in kept], protected))

    def _over_budget(self, budget: int, gone: list[int], kept: list[int], protected: frozenset[int]) -> list[int]:
        if self.stored_bytes <= budget:
            return []
        left, uses = self.stored_bytes, Counter(self._users)

        def without(seq: int) -> int:
            own = self._chunks[seq]
            uses.subtract(own.keys())
            return left - self._manifests[seq] - sum(size for name, size in own.items() if not uses[name])

        for seq in gone:
            left = without(seq)
        over = []
        for seq in kept[:-1]:
            if left > budget and seq not in protected:
                left = without(seq)
                over.append(seq)
        return over
