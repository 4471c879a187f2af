"""Parts of snapshots from two sockets: their order, and how much may wait."""

import pytest

from skep_shared.errors import ProtocolError
from skep_shared.protocol.frames import Blob, Saved
from skep_workers.host.process import snapshot_order
from skep_workers.host.process.snapshot_order import FRAME_BYTES, SnapshotOrder

BLOB = Blob(b"name", b"x" * 1000)


def test_parts_wait_for_the_snapshots_before_them():
    passed_on = []
    order = SnapshotOrder(passed_on.append)
    first, second, apart = Saved(2, b"m", {}, 1), Saved(3, b"m", {}, 1), Saved(1, b"m", {})
    for frame in (BLOB, first, second):
        order.receive_from_cells(frame)
    assert passed_on == []

    order.receive_from_snapshots(apart)
    assert passed_on == [apart, BLOB, first, second]


def test_a_process_that_never_sends_what_they_wait_for_is_at_fault(monkeypatch):
    monkeypatch.setattr(snapshot_order, "MOST_HELD_BYTES", 10 * (1000 + FRAME_BYTES))
    order = SnapshotOrder(lambda _: None)
    order.receive_from_cells(Saved(1, b"", {}, 1))
    for _ in range(9):
        order.receive_from_cells(BLOB)

    with pytest.raises(ProtocolError, match="parts of snapshots"):
        order.receive_from_cells(BLOB)


def test_what_was_passed_on_does_not_count(monkeypatch):
    monkeypatch.setattr(snapshot_order, "MOST_HELD_BYTES", 2 * (1000 + FRAME_BYTES))
    passed_on = []
    order = SnapshotOrder(passed_on.append)
    for seq in range(1, 100):
        order.receive_from_cells(BLOB)
        order.receive_from_cells(Saved(seq, b"", {}))

    assert len(passed_on) == 198
