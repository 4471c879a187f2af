"""What a session holds of its files until a checkpoint has them."""

from skep_workers.session.checkpoint.surroundings.workspace import Workspace


def test_content_that_was_replaced_before_a_checkpoint_had_it_is_not_held(tmp_path):
    workspace = Workspace()
    workspace.begin(str(tmp_path))
    for number in range(3):
        (tmp_path / "a").write_bytes(bytes([number]) * 1000)
        [entry] = workspace.read()
    assert workspace.unstored.keys() == set(entry.chunks)

    (tmp_path / "a").unlink()
    assert (workspace.read(), workspace.unstored) == ([], {})
