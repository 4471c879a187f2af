"""Cells that commit without a checkpoint: each of their ends is written together with the reason."""

import asyncio
from types import SimpleNamespace

import msgpack
import pytest

from skep_shared.broker.mailbox_entries import SubmittedCell
from skep_shared.models import CellSpec
from skep_shared.protocol.frames import Done
from skep_workers.host.checkpoint.writer import SavedState

pytestmark = pytest.mark.anyio


class Scripts:
    """Records the commits, cell by cell; nothing else is written."""

    def __init__(self):
        self.commits = []

    async def commit(self, claim, *, cells, **_options):
        self.commits += [[msgpack.unpackb(event) for event in cell.events] for cell in cells]


async def test_each_cell_without_a_checkpoint_commits_with_the_reason(make_runs):
    scripts = Scripts()
    runs, intake, journal = make_runs(2, scripts)
    runs.attach(SimpleNamespace(execute=lambda _: None, is_ending=False))
    for seq in (1, 2):
        intake.offer(SubmittedCell("s", seq, f"cell-{seq}", CellSpec(code="1").pack(), 0.0))
    runs.send_cells()
    for seq in (1, 2):
        runs.receive_done(Done(seq, 1, "finished", 1, "simple_sync", {}))
    runs.unsaved.state_saved(SavedState(2, failure="the store is full"))
    writing = asyncio.create_task(journal.run())
    async with asyncio.timeout(10):
        await journal.written()
    writing.cancel()

    kinds = ["cell.queued", "cell.started", "checkpoint.failed", "cell.finished"]
    assert [[event["kind"] for event in events] for events in scripts.commits] == [kinds, kinds]
    for seq, (*_, failed, finished) in enumerate(scripts.commits, start=1):
        assert (failed["after"], failed["reason"], finished["unsaved"]) == (seq, *["the store is full"] * 2)
