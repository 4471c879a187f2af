"""The origins of a fork."""

from skep_shared.broker.origins import Origin, read_origins
from skep_shared.checkpoints.checkpoint_ids import CheckpointId


def test_origins_are_read_nearest_first():
    assert read_origins("") == ()
    assert read_origins("a.b:3:1700 c=d:12-1:5") == (
        Origin("a.b", CheckpointId(3), 1700),
        Origin("c=d", CheckpointId(12, 1), 5),
    )
