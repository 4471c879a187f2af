"""The checkpoint that a process makes while it leaves, after the session's last cell."""

from dataclasses import replace

from skep_shared.checkpoints.checkpoint_ids import NO_CHECKPOINT
from skep_workers.host.checkpoint.writer import SavedState
from skep_workers.host.residency.checkpointing import HostCheckpoints


class LastCheckpoint:
    """Numbers that checkpoint: its cell may have one already, so it becomes another part of the same cell."""

    def __init__(self, checkpoints: HostCheckpoints) -> None:
        self._checkpoints = checkpoints
        self._seq = 0
        self._newest = NO_CHECKPOINT

    def expect(self, seq: int) -> None:
        """Expect the state of a leaving process after this cell; 0: expect none."""
        self._seq = seq

    def numbered(self, state: SavedState) -> SavedState:
        """Return the state with the number of its checkpoint, if it is that of a leaving process."""
        if not state.manifest or state.seq != self._seq:
            return state
        self._newest = max(self._newest, self._checkpoints.newest).after(state.seq)
        return replace(state, kind="last", part=self._newest.part)
