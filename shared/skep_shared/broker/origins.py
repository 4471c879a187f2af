"""The sessions whose chunks a fork reads, as stored in its hash."""

from dataclasses import dataclass

from skep_shared.checkpoints.checkpoint_ids import CheckpointId


@dataclass(frozen=True, slots=True)
class Origin:
    """A session whose chunks a fork reads, and the checkpoint that the fork has pinned there; created_at in ms."""

    session_id: str
    checkpoint: CheckpointId
    created_at: int


def read_origins(text: str) -> tuple[Origin, ...]:
    """Read the field `origins` of a session's hash, nearest first; fork.lua writes it."""
    parts = (origin.split(":") for origin in text.split())  # a session id has neither blank nor colon
    return tuple(Origin(session_id, CheckpointId.parse(pinned), int(created)) for session_id, pinned, created in parts)
