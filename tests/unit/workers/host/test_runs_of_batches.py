"""Which cells of a batch that stops on an error the process is sent, and when."""

import msgpack
import pytest

from skep_shared.broker.mailbox_entries import SubmittedCell
from skep_shared.models import CellSpec
from skep_shared.protocol.frames import Done
from skep_workers.host.checkpoint.writer import SavedState
from skep_workers.host.process.listener import ProcessEnd

pytestmark = pytest.mark.anyio


class Process:
    """Records the seqs and attempts of the cells that it is sent."""

    is_ending = False

    def __init__(self):
        self.sent = []

    def execute(self, frames):
        self.sent += [(frame.seq, frame.attempt) for frame in frames]


class Residency:
    """The cells of one residency; `ends` has the last event of each cell that has ended."""

    def __init__(self, make_runs):
        self.runs, self.intake, self.journal = make_runs(9)
        self.ends = {}
        end_cell = self.journal.end_cell

        def record(cell):
            self.ends[cell.cell_id] = msgpack.unpackb(cell.make_last(None, ""))
            end_cell(cell)

        self.journal.end_cell = record

    def offer(self, *after):
        """Add cells a, b, …, each to run only after the named one."""
        for seq, (cell_id, before) in enumerate(zip("abcdefgh", after, strict=False), start=1):
            self.intake.offer(SubmittedCell("s", seq, cell_id, CellSpec(code="1", only_after=before).pack(), 0.0))

    def start(self):
        process = Process()
        self.runs.attach(process)
        self.runs.send_cells()
        return process

    def done(self, seq, status="finished", attempt=1):
        self.runs.receive_done(Done(seq, attempt, status, 1, "simple_sync", {}))
        self.runs.send_cells()

    def saved(self, seq):
        self.runs.unsaved.state_saved(SavedState(seq))
        self.runs.send_cells()


@pytest.fixture
async def residency(make_runs):
    residency = Residency(make_runs)
    yield residency
    residency.runs.detach()


async def test_a_cell_is_sent_when_the_one_before_it_has_succeeded_saved_or_not(residency):
    residency.offer(None, "a", "b")
    process = residency.start()
    assert process.sent == [(1, 1)]
    residency.done(1)
    assert process.sent == [(1, 1), (2, 1)]
    residency.done(2)
    assert process.sent == [(1, 1), (2, 1), (3, 1)]


async def test_cells_of_no_batch_are_sent_ahead(residency):
    residency.offer(None, None, "b", None)
    process = residency.start()
    assert process.sent == [(1, 1), (2, 1)]
    residency.done(1)
    residency.done(2)
    assert process.sent == [(1, 1), (2, 1), (3, 1), (4, 1)]


async def test_after_a_failure_the_rest_of_the_batch_is_not_sent_and_ends_once_the_failure_is_saved(residency):
    residency.offer(None, "a", "b", None)
    process = residency.start()
    residency.done(1, "failed")
    assert list(residency.ends) == ["a"]
    residency.saved(1)

    assert process.sent == [(1, 1), (4, 1)]
    assert {cell_id: end.get("stopped_by") for cell_id, end in residency.ends.items()} == {
        "a": None,
        "b": "a",
        "c": "a",
    }
    assert {end["status"] for end in residency.ends.values()} == {"failed", "cancelled"}


@pytest.mark.parametrize(("second", "end"), [("finished", None), ("failed", "a")])
async def test_a_cell_that_runs_again_since_it_was_not_saved_counts_as_it_ends_the_second_time(residency, second, end):
    residency.offer(None, "a")
    residency.start()
    residency.done(1, "failed" if second == "finished" else "finished")
    residency.runs.process_ended(ProcessEnd("killed by SIGKILL"), may_head_run_again=True)
    process = residency.start()
    assert process.sent == [(1, 2)]
    residency.done(1, second, attempt=2)
    residency.saved(1)

    assert process.sent == ([(1, 2), (2, 1)] if end is None else [(1, 2)])
    assert residency.ends.get("b", {}).get("stopped_by") == end


@pytest.mark.parametrize("after", ["a", None])
async def test_a_cancelled_cell_that_would_begin_at_once_is_not_sent(residency, after):
    residency.offer(None)
    process = residency.start()
    residency.runs.interrupts.cancel(2)
    residency.done(1)
    residency.intake.offer(SubmittedCell("s", 2, "b", CellSpec(code="1", only_after=after).pack(), 0.0))
    residency.runs.send_cells()
    assert process.sent == [(1, 1)]
    residency.saved(1)

    assert process.sent == [(1, 1)]
    assert residency.ends["b"]["status"] == "cancelled"
