"""Ids of checkpoints: their text, their order, and which one comes next."""

import itertools

import pytest

from skep_shared.checkpoints.checkpoint_ids import NO_CHECKPOINT, CheckpointId


@pytest.mark.parametrize(
    ("text", "checkpoint", "stored"),
    [
        ("17", CheckpointId(17), "17"),
        (b"17-0", CheckpointId(17), "17"),
        (b"17-2", CheckpointId(17, 2), "17-2"),
        ("0", NO_CHECKPOINT, "0"),
    ],
)
def test_they_are_read_in_both_forms_and_stored_as_before(text, checkpoint, stored):
    assert CheckpointId.parse(text) == checkpoint
    assert checkpoint.stored == stored


@pytest.mark.parametrize("text", ["", "-1", "17-", "17-0-0", "x", b"1 7", "17-1234567890"])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="checkpoint id"):
        CheckpointId.parse(text)


def test_they_are_in_the_order_in_which_they_were_made():
    made = [CheckpointId(9), CheckpointId(9, 1), CheckpointId(9, 2), CheckpointId(10)]

    assert all(one < other for one, other in itertools.pairwise(made))
    assert [str(checkpoint) for checkpoint in made] == ["9-0", "9-1", "9-2", "10-0"]
    assert not NO_CHECKPOINT


@pytest.mark.parametrize(
    ("newest", "following"),
    [
        (NO_CHECKPOINT, CheckpointId(9)),
        (CheckpointId(4, 3), CheckpointId(9)),
        (CheckpointId(9), CheckpointId(9, 1)),
        (CheckpointId(9, 1), CheckpointId(9, 2)),
    ],
)
def test_the_next_one_of_a_cell_is_free(newest, following):
    assert newest.after(9) == following
