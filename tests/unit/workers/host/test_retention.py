"""Which checkpoints are removed, and which chunks with them."""

from hypothesis import given
from hypothesis import strategies as st

from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.chunks.stored_manifest import Chunk
from skep_workers.host.checkpoint.retention import CheckpointHistory, RetentionRule

UNPROTECTED = frozenset()
PLENTY = 10**9


def ids(*seqs):
    return frozenset(map(CheckpointId, seqs))


def rule(latest=1, every=0, count=1000, budget=PLENTY):
    return RetentionRule(latest, every, count, budget)


def history(*checkpoints):
    """Checkpoints by seq, each of chunks that are 10 bytes long, with manifests of 1."""
    made = CheckpointHistory()
    for seq, names in checkpoints:
        made.add(CheckpointId(seq), 1, [Chunk(name.encode(), 10, 10) for name in names])
    return made


def settled(seqs, wanted, protected=UNPROTECTED):
    """Add checkpoints one after the other, removing the due ones after each; return the remaining ones."""
    made = CheckpointHistory()
    for seq in seqs:
        made.add(CheckpointId(seq), 1, [])
        made.remove(made.to_remove(wanted, protected & {*made.checkpoints}))
    return [checkpoint.seq for checkpoint in made.checkpoints]


def removed(made, wanted, protected=UNPROTECTED):
    """Return the seqs of the checkpoints that are due for removal."""
    return [checkpoint.seq for checkpoint in made.to_remove(wanted, protected)]


def test_the_latest_are_kept():
    assert settled(range(1, 11), rule(latest=3)) == [8, 9, 10]


def test_the_last_one_of_every_so_many_cells_is_kept():
    assert settled(range(1, 26), rule(latest=2, every=10)) == [10, 20, 24, 25]


def test_where_cells_have_no_checkpoint_the_last_one_before_them_is_kept():
    seqs = [seq for seq in range(1, 26) if seq not in {9, 10, 20}]
    assert settled(seqs, rule(latest=2, every=10)) == [8, 19, 24, 25]


def test_only_the_latest_of_those_for_every_so_many_cells_are_kept():
    assert settled(range(1, 101), rule(latest=1, every=10, count=3)) == [80, 90, 100]


def test_protected_checkpoints_are_kept():
    assert settled(range(1, 11), rule(latest=2), ids(3, 5)) == [3, 5, 9, 10]


def test_above_the_budget_the_oldest_are_removed_first():
    made = history((1, "ab"), (2, "b"), (3, "bc"))  # 33 bytes, of which the first alone holds 11

    assert made.stored_bytes == 33
    assert removed(made, rule(latest=9, budget=33)) == []
    assert removed(made, rule(latest=9, budget=32)) == [1]
    assert removed(made, rule(latest=9, budget=21)) == [1, 2]
    assert removed(made, rule(latest=9, budget=0)) == [1, 2]
    assert removed(made, rule(latest=9, budget=0), ids(1)) == [2]


def test_checkpoints_that_are_due_anyway_count_for_the_budget():
    assert removed(history((1, "a"), (2, "b"), (3, "c")), rule(latest=2, budget=22)) == [1]


def test_chunks_of_an_origin_cost_nothing_and_are_never_removed():
    made = CheckpointHistory()
    made.add(CheckpointId(1), 1, [Chunk(b"theirs", 10, 10, home=1), Chunk(b"mine", 10, 10)])

    assert made.stored_bytes == 11
    assert made.named_only_by([CheckpointId(1)]) == {b"mine"}


@given(
    st.lists(st.tuples(st.sets(st.sampled_from("abcdef")), st.booleans()), min_size=1, max_size=30),
    st.integers(1, 5), st.integers(0, 4), st.integers(0, 90), st.frozensets(st.builds(CheckpointId, st.integers(1, 15), st.integers(0, 1))),
)  # fmt: skip
def test_no_chunk_is_removed_that_a_kept_checkpoint_names(states, latest, every, budget, protected):
    made, kept = CheckpointHistory(), {}
    for number, (names, has_checkpoint) in enumerate(states, start=1):
        seq = CheckpointId(number // 2, number % 2)
        if has_checkpoint:
            kept[seq] = {name.encode() for name in names}
            made.add(seq, 1, [Chunk(name, 10, 10) for name in kept[seq]])
        due = made.to_remove(rule(latest, every, 3, budget), protected)
        garbage = made.named_only_by(due)
        dropped = set().union(*(kept.pop(seq) for seq in due))
        made.remove(due)

        assert garbage == dropped - set().union(*kept.values())
        assert made.checkpoints == sorted(kept)
        assert made.stored_bytes == len(kept) + 10 * len(set().union(*kept.values()))
        assert not kept or seq == max(kept) or not has_checkpoint
        assert protected.isdisjoint(due)
        unprotected = [other for other in made.checkpoints[:-1] if other not in protected]
        assert made.stored_bytes <= budget or not unprotected


def test_only_the_last_of_a_cells_checkpoints_is_kept_for_every_so_many_cells():
    made = CheckpointHistory()
    for checkpoint in (CheckpointId(5), CheckpointId(5, 1), CheckpointId(5, 2), CheckpointId(6), CheckpointId(11)):
        made.add(checkpoint, 1, [])

    assert made.to_remove(rule(latest=1, every=5), UNPROTECTED) == [CheckpointId(5), CheckpointId(5, 1)]


def with_uploads(*checkpoints):
    made = CheckpointHistory()
    for seq, part in checkpoints:
        made.add(CheckpointId(seq, part), 1, [], is_upload=part > 0)
    return made


def test_uploads_displace_no_checkpoint():
    made = with_uploads((1, 0), (2, 0), (3, 0), (3, 1), (3, 2), (3, 3))

    assert made.to_remove(rule(latest=3), UNPROTECTED) == [CheckpointId(3, 1), CheckpointId(3, 2)]


def test_an_upload_is_kept_with_its_cells_checkpoint():
    made = with_uploads((0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0))

    assert made.to_remove(rule(latest=2), UNPROTECTED) == [CheckpointId(0, 1), CheckpointId(1), CheckpointId(1, 1)]


def test_the_latest_checkpoint_is_kept_even_if_it_is_an_upload():
    assert with_uploads((0, 1), (0, 2)).to_remove(rule(latest=1), UNPROTECTED) == [CheckpointId(0, 1)]
