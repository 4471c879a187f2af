"""What a session requires of the worker that runs it: for placement, and to explain why a session waits."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

from skep_shared.isolation.sandbox_tiers import STRENGTH, Tier, is_as_strong
from skep_shared.models import SessionOptions


class Abilities(Protocol):
    """What a worker gives to its sessions: WorkerFacts has all of it."""

    @property
    def labels(self) -> dict[str, str]:
        """The worker's labels."""

    @property
    def sandbox(self) -> str:
        """The tier of its sandbox."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """labels: that a worker must have. sandbox: the weakest tier that it may have."""

    labels: Mapping[str, str] = field(default_factory=dict)
    sandbox: str = Tier.NONE

    @classmethod
    def of(cls, options: SessionOptions) -> Self:
        """Return the requirements of a session with these options."""
        return cls(options.requires, options.sandbox)

    def __bool__(self) -> bool:
        """Return whether some worker may not meet them."""
        return bool(self.labels) or self.sandbox != Tier.NONE

    def are_met_by(self, worker: Abilities) -> bool:
        """Return whether the worker has everything that is required."""
        return worker.labels.items() >= self.labels.items() and is_as_strong(worker.sandbox, self.sandbox)

    def __str__(self) -> str:
        """Return "with …", or "" without requirements."""
        parts = []
        if self.labels:
            parts.append(f"the labels {', '.join(f'{name}={value}' for name, value in sorted(self.labels.items()))}")
        if self.sandbox != Tier.NONE:
            parts.append(f"sandbox {self.sandbox}" + ("" if self.sandbox == STRENGTH[-1] else " or stronger"))
        return f"with {' and '.join(parts)}" if parts else ""

    def shortage(self, workers: Sequence[Abilities]) -> str:
        """Return that none of the live workers meets the requirements, and what they have; "" if one does."""
        if not self or any(self.are_met_by(worker) for worker in workers):
            return ""
        if not workers:
            return f"no worker {self} is alive, and no other one"
        pronoun = "it" if not self.labels else "them"
        return f"no worker {self} is alive; workers without {pronoun}: {len(workers)}{self._tiers_of(workers)}"

    def _tiers_of(self, workers: Sequence[Abilities]) -> str:
        """Return how many of the workers have each tier, if one is required."""
        if self.sandbox == Tier.NONE:
            return ""
        counts = Counter(worker.sandbox for worker in workers)
        return f", with sandbox {', '.join(f'{tier} ({counts[tier]})' for tier in sorted(counts))}"
