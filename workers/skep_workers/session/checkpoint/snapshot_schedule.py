"""When the next snapshot may be taken, and after which cells one was read or is still wanted."""

from typing import Final

from skep_workers.session.safeguards.clock import monotonic

RELAXED_SECONDS: Final = 1.0  # between two snapshots, where no outcome waits for them


class SnapshotSchedule:
    """The snapshots of one session, as far as time and cells decide about them.

    is_wanted: a cell has ended whose state no snapshot has read, or whose snapshot has failed. latest_seq: the last
    cell that has ended. read_seq: the last cell whose state has begun to be read.
    """

    def __init__(self) -> None:
        self.is_wanted = False
        self.latest_seq = 0
        self.read_seq = 0
        self._interval_seconds = 0.0
        self._taken_at = 0.0

    def set_relaxed(self, *, is_relaxed: bool) -> None:
        """Set whether snapshots are taken at intervals instead of after each cell."""
        self._interval_seconds = RELAXED_SECONDS if is_relaxed else 0.0

    @property
    def is_relaxed(self) -> bool:
        """Return whether snapshots are taken at intervals."""
        return self._interval_seconds > 0

    @property
    def seconds_to_wait(self) -> float:
        """How long until the next snapshot may be taken."""
        if not self._interval_seconds:
            return 0.0
        return max(0.0, self._taken_at + self._interval_seconds - monotonic())

    def postpone(self, seq: int) -> None:
        """Note a cell that has ended and whose state can't be read now."""
        self.latest_seq, self.is_wanted = seq, True

    def begin_snapshot(self, seq: int) -> None:
        """Note that the state after a cell is read now."""
        self.latest_seq = self.read_seq = seq
        self.is_wanted = False
        self._taken_at = monotonic() if self._interval_seconds else 0.0
