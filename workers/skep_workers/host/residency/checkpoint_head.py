"""Which checkpoint a session's state starts from, and whether the state after the last cell is in a checkpoint."""

from skep_shared.broker.script_replies import HOLDS_AGAIN, NONE_MADE
from skep_shared.checkpoints.checkpoint_ids import CheckpointId


class CheckpointHead:
    """The latest checkpoint as the journal will have written it."""

    def __init__(self, checkpoint: CheckpointId) -> None:
        self.checkpoint = checkpoint
        self.unsaved = ""  # why the state after the last cell is in the process alone, if it is
        self._is_marked = False  # Redis has recorded that the last checkpoint does not have the latest state

    def move_to(self, checkpoint: CheckpointId) -> None:
        """Make this the latest checkpoint."""
        self.checkpoint = checkpoint

    def record_saving(self, failure: str) -> None:
        """Record whether the state after the last cell is saved; failure: why it is not."""
        self.unsaved = failure

    def of_commit(self, failure: str, *, needs_saving: bool) -> tuple[str | None, str]:
        """Return the checkpoint that a cell's last event names, or None and the reason why there is none."""
        reason = failure or ("" if needs_saving else self.unsaved)
        return (str(self.checkpoint) if self.checkpoint and not reason else None), reason

    def mark(self, failure: str) -> bytes:
        """Return what a commit without a manifest records about the latest checkpoint; b"" for no change."""
        if failure:
            self._is_marked = True
            return NONE_MADE
        if self._is_marked and not self.unsaved:
            self._is_marked = False
            return HOLDS_AGAIN
        return b""

    def discard_unsaved(self) -> None:
        """Record that the state which is in no checkpoint is lost: the session continues from the latest checkpoint."""
        self.unsaved, self._is_marked = "", True
