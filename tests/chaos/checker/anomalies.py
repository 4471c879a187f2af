"""Anomalies that a history must not have, by name; and the verdict on a history."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

ANOMALIES: Final = {
    # the event stream
    "hole": "an event id is missing, or the stream's end is not what the session says",
    "epoch going back": "an event of an earlier epoch follows one of a later epoch",
    "stale-epoch write": "an owner wrote after another one had claimed the session",
    # one terminal event per cell
    "lost cell": "an acknowledged cell has no terminal event",
    "second commit": "a cell has two terminal events",
    "phantom commit": "a cell whose submit was refused has run",
    "unknown cell": "an event of a cell that no client submitted",
    "output after result": "an event of a cell after its end, or out of the order of its life",
    "incomplete final attempt": "a finished cell's last attempt lacks output, or has too much",
    "aborted attempt is no prefix": "output of an attempt that was given up, which the cell never writes",
    "unannounced attempt": "a later attempt that no cell.retried announces, or that counts down",
    "misplaced outcome": "what is known about a cell id names other events than the cell's",
    # order
    "order of commits": "cells ended in another order than their seqs, or a seq was left out",
    "two positions": "a cell was told two seqs, or a seq two cells",
    "order of submits": "a submit that was answered before another one began has the later seq",
    "ran after a failure": "a cell of a batch that stops on an error has run though the one before it did not succeed",
    "stopped without cause": "a cell was cancelled for one before it in its batch that has succeeded, or has not ended",
    # state
    "state divergence": "a result shows other cells than those that had committed",
    "checkpoint mismatch": "the checkpoint is not the state after the last commit, or its chunks are not there",
    "damaged checkpoint": "a checkpoint could not be restored",
    "cursor mismatch": "the cursor is not the number of cells that have ended",
    # placement
    "weaker sandbox": "a worker whose sandbox is weaker than the one that the session asks for became its owner",
    # readers
    "skip": "a reader was given an event and not the one before it",
    "non-monotonic read": "a reader was given an event again, or an earlier one",
    "two contents": "one event id, two contents",
    "unseen tail": "a reader who followed to the end has not seen the last events",
    "vanished event": "a reader was given an event that no longer exists",
    # the end of a run
    "not drained": "after all faults had ended a cell did not end within the bound, or a session did not close",
    # The parts themselves
    "worker exit": "a worker ended by itself",
    "broken protocol": "the host took a session process's honest word for a breach of the protocol",
    "unhandled": "an exception that nobody handled, or a run without end",
}  # fmt: skip

# What a rollback loses: kept apart from what must hold even then.
RESETS: Final = frozenset(
    {
        "lost cell", "two positions", "order of submits", "non-monotonic read", "two contents", "vanished event", "skip",
        "unseen tail", "stale-epoch write", "damaged checkpoint",
        "phantom commit",  # refused because of a close that is rolled back, then accepted when an earlier request arrives late
    }
)  # fmt: skip


@dataclass(frozen=True)
class Anomaly:
    """One anomaly."""

    name: str
    session: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.session} {self.text}"


@dataclass
class Verdict:
    """The verdict on a history."""

    anomalies: list[Anomaly] = field(default_factory=list)
    resets: list[Anomaly] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def is_valid(self) -> bool:
        """Return whether everything held."""
        return not self.anomalies

    @property
    def names(self) -> Counter[str]:
        """Count the anomalies by name."""
        return Counter(anomaly.name for anomaly in self.anomalies)
