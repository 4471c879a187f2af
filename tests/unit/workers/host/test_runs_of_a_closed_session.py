"""A cell whose process crashed ends as crashed, even if the session is closed before that is reported."""

import msgpack
import pytest

from skep_shared.broker.mailbox_entries import SubmittedCell
from skep_shared.models import CellSpec
from skep_shared.protocol.frames import Done, Output
from skep_shared.states import CellStatus
from skep_workers.host.process.listener import ProcessEnd
from skep_workers.host.residency.cells.endings import Refusal

pytestmark = pytest.mark.anyio


class Process:
    """Accepts cells and does nothing."""

    is_ending = False

    def execute(self, frames):
        pass


def attach(runs):
    runs.attach(Process())
    runs.send_cells()


async def test_it_ends_as_crashed_and_is_reported_once(make_runs):
    runs, intake, journal = make_runs(2)
    events = []
    add, end_cell = journal.add, journal.end_cell
    journal.add = lambda event: events.append(msgpack.unpackb(event)) or add(event)
    journal.end_cell = lambda cell: events.append(msgpack.unpackb(cell.make_last(None, ""))) or end_cell(cell)
    for seq in (1, 2):
        intake.offer(SubmittedCell("s", seq, f"cell-{seq}", CellSpec(code="1").pack(), 0.0))
    attach(runs)

    # The first cell ends, its checkpoint isn't there yet; the second one takes the process with it.
    runs.receive_done(Done(1, 1, "finished", 1, "simple_sync", {}))
    runs.receive_output(Output(2, 1, "stdout", "it runs"))
    runs.process_ended(ProcessEnd("killed by SIGSEGV"), may_head_run_again=False)
    attach(runs)
    runs.receive_done(Done(1, 2, "finished", 1, "simple_sync", {}))
    runs.detach()
    assert [cell.seq for cell in intake.waiting] == [2]
    runs.refuse_next(Refusal(CellStatus.CANCELLED, "SessionClosed", "the session was closed before the cell started"))

    of_second = [event for event in events if event.get("cell_id") == "cell-2"]
    assert [event["kind"] for event in of_second] == ["cell.queued", "cell.started", "output", "error", "cell.finished"]
    assert of_second[-1]["status"] == "crashed"
    assert "SIGSEGV" in of_second[-2]["evalue"]
