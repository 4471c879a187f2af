"""Children that have failed through no variable's fault, and when saving the state is given up."""

from typing import Final

from skep_workers.session.checkpoint.saving.child import SnapshotChild
from skep_workers.session.checkpoint.saving.time_budget import TimeBudget

MOST_FAULTS: Final = 3  # children in a row that fail through no variable's fault; then the state is given up


class Faults:
    """The failed attempts to save the latest state."""

    def __init__(self) -> None:
        self.budget = TimeBudget()
        self.has_failed = False  # the state as it is could not be saved
        self._count = 0
        self._failure: tuple[int, str] | None = None  # the cell after which no checkpoint could be made, and why

    @property
    def is_given_up(self) -> bool:
        """Return whether a failure waits to be reported."""
        return self._failure is not None

    def record_saved(self) -> None:
        """Record that a child has saved the state."""
        self.budget.reset()
        self._count, self.has_failed = 0, False

    def record_failed(self) -> None:
        """Record that the state is given up."""
        self._count, self.has_failed = 0, True
        self.budget.reset()

    def record_child(self, child: SnapshotChild) -> None:
        """Record a child that made no snapshot.

        The state is given up after MOST_FAULTS children that failed through no variable's fault, or when the budget is
        over and everything that could be left out has been. If the state before could not be saved either, one such
        child is enough.
        """
        self._count = self._count + 1 if child.fault else 0
        if self._count >= (1 if self.has_failed else MOST_FAULTS) or self.budget.is_over:
            self._failure = child.seq, child.fault or "saving the state took too long, whatever was left out"

    def pop_failure(self) -> tuple[int, str] | None:
        """Return the cell after which the state was given up, and why; None if that was returned before."""
        failure, self._failure = self._failure, None
        return failure
