"""Variables that could not be saved: those that later snapshots skip, and those that hang in a forked child only."""

from typing import Any, Final

from skep_workers.session.checkpoint.saving.child import SnapshotChild
from skep_workers.session.checkpoint.saving.early_reductions import record_reductions

REDUCING_SHARE: Final = 0.1  # of a snapshot's time, for reducing objects in this process
MOST_REDUCING_SECONDS: Final = 2.0


class FailedVariables:
    """The variables that failed in children; each counts as failed as long as it has the same value."""

    def __init__(self) -> None:
        self._skipped: dict[str, tuple[Any, str]] = {}  # values, and reasons
        self._failed: dict[str, tuple[int, str]] = {}  # in the last child: ids, and reasons, '' if it hung
        self._stuck: dict[str, Any] = {}  # variables that hang in a child, with their values

    def record(self, child: SnapshotChild) -> None:
        """Record the variables at which a child has failed."""
        for name, reason in child.failed.items():
            is_stuck = name == child.stuck_at and name not in self._stuck
            self._failed[name] = child.ids[name], "" if is_stuck else reason

    def reasons(self, names: dict[str, Any]) -> dict[str, str]:
        """Return the variables that are skipped, with the reasons."""
        failed, self._failed = self._failed, {}
        for name, (number, reason) in failed.items():
            if id(names.get(name)) == number and not reason:
                self._stuck[name] = names[name]
            elif id(names.get(name)) == number:
                self._stuck.pop(name, None)
                self._skipped[name] = names[name], reason
        self._stuck = {name: value for name, value in self._stuck.items() if names.get(name) is value}
        self._skipped = {name: skip for name, skip in self._skipped.items() if names.get(name) is skip[0]}
        return {name: reason for name, (_, reason) in self._skipped.items()}

    def reduce_stuck(self, snapshot_seconds: float) -> dict[str, str]:
        """Reduce variables that hang in a child in this process, for the next child; return those that failed."""
        if not self._stuck:
            return {}
        failed = record_reductions(self._stuck, min(snapshot_seconds * REDUCING_SHARE, MOST_REDUCING_SECONDS))
        for name, reason in failed.items():
            self._skipped[name] = (self._stuck.pop(name), reason)
        return failed

    def release_values(self) -> None:
        """Hold no value any more."""
        self._skipped.clear()
        self._stuck.clear()
