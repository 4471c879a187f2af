"""A cell whose process crashed stays crashed, though the session is closed before that could be told."""

import msgpack
import pytest

from skep_shared.frames import Done, Output
from skep_shared.keys import Keys
from skep_shared.models import CellSpec
from skep_shared.script_replies import Claim
from skep_shared.settings import WorkerSettings
from skep_shared.states import CellStatus
from skep_workers.host.clock import RedisClock
from skep_workers.host.intake import CellIntake
from skep_workers.host.journal import Journal
from skep_workers.host.reporter import Reporter
from skep_workers.host.runs import CellRuns

pytestmark = pytest.mark.anyio


class Process:
    """Takes cells and does nothing."""

    is_ending = False

    def execute(self, frames):
        pass


async def test_it_ends_as_crashed_and_is_told_once():
    claim = Claim("s", "token", 1, 0, 2, 0, 0, "", False, b"", 0)
    settings, clock, keys = WorkerSettings.load(prefix="t"), RedisClock(), Keys("t")
    intake = CellIntake(None, keys, "s", after=0, on_cells=lambda: None)
    journal = Journal(None, claim, settings, lambda: None, lambda *_: None)
    reporter = Reporter(journal, clock, claim.epoch)
    runs = CellRuns(claim, settings, clock, intake, (journal, reporter), lambda: None, lambda *_: None)
    events = []
    add, end_cell = journal.add, journal.end_cell
    journal.add = lambda event: events.append(msgpack.unpackb(event)) or add(event)
    journal.end_cell = lambda *args, **options: (
        events.append(msgpack.unpackb(args[3](None))) or end_cell(*args, **options)
    )
    for seq in (1, 2):
        intake.offer(seq, f"cell-{seq}", CellSpec(code="1").pack(), 0.0)
    runs.attach(Process())

    # The first cell ends, its checkpoint isn't there yet; the second one takes the process with it.
    runs.on_frame(Done(1, 1, "finished", 1, "simple_sync", {}))
    runs.on_frame(Output(2, 1, "stdout", "it runs"))
    runs.on_exit("killed by SIGSEGV", [], keep_head=False)
    runs.attach(Process())
    runs.on_frame(Done(1, 2, "finished", 1, "simple_sync", {}))
    runs.detach()
    assert [cell.seq for cell in intake.waiting] == [2]
    runs.refuse_next(CellStatus.CANCELLED, "SessionClosed", "the session was closed before the cell started")

    of_second = [event for event in events if event.get("cell_id") == "cell-2"]
    assert [event["kind"] for event in of_second] == ["cell.queued", "cell.started", "output", "error", "cell.finished"]
    assert of_second[-1]["status"] == "crashed"
    assert "SIGSEGV" in of_second[-2]["evalue"]
