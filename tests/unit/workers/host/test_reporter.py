"""The times of a cell's events never decrease, whatever the clock does."""

import msgpack
import pytest

from skep_shared.models import CellSpec
from skep_shared.protocol.frames import Done, Output
from skep_workers.host.broker.redis_clock import RedisClock
from skep_workers.host.residency.cells.cell_run import CellRun
from skep_workers.host.residency.cells.intake import QueuedCell
from skep_workers.host.residency.cells.reporter import Reporter, time_of_event


class Journal:
    """Records the times of events."""

    def __init__(self):
        self.times = []

    def record_attempt(self, seq, attempt):
        pass

    def add(self, event):
        self.times.append(msgpack.unpackb(event)["at"])

    def add_first(self, seq, event):
        self.add(event)

    def end_cell(self, cell):
        self.make_last = cell.make_last


class Clock(RedisClock):
    """Returns the time that it is set to."""

    now = 0.0

    def now_ms(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def journal():
    return Journal()


@pytest.fixture
def reporter(journal, clock):
    return Reporter(journal, clock, 1)


def a_run(clock, submitted_ms=1_000, attempt=1):
    clock.now = 5_000.0
    return CellRun(QueuedCell(1, "c", CellSpec(code="1"), submitted_ms), attempt, since_ms=clock.now)


def test_a_clock_that_is_set_back_leaves_a_cells_events_in_order(reporter, journal, clock):
    run = a_run(clock)
    for now in (5_010.0, 4_000.0, 4_500.0, 5_020.0):
        clock.now = now
        reporter.output(run, Output(1, 1, "stdout", "x"))
    clock.now = 3_000.0
    reporter.done(run, Done(1, 1, "finished", 5, "simple", {}), is_saved=True, is_followed=False)
    reporter.late_output(Output(1, 1, "stdout", "late"), 2)
    end = msgpack.unpackb(journal.make_last(None))
    reporter.late_output(Output(1, 1, "stdout", "later"), 2)

    assert journal.times == [1_000, 5_000, 5_010, 5_010, 5_010, 5_020, 5_020, 5_020]
    assert end["at"] == 5_020
    assert min(end["queued_ms"], end["run_ms"], end["commit_ms"]) >= 0


def test_a_cell_submitted_by_a_later_clock_is_not_started_before(reporter, journal, clock):
    reporter.announce(a_run(clock, submitted_ms=9_000))

    assert journal.times == [9_000, 9_000]


def test_events_of_an_earlier_owner_are_not_followed_by_earlier_times(reporter, journal, clock):
    reporter.continue_after([1], 7_000)
    reporter.announce(a_run(clock, attempt=2))

    assert journal.times == [7_000, 7_000, 7_000]  # queued, retried, started


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("page", "time"),
    [
        ([], 0),
        ([[b"1-0", [b"e", msgpack.packb({"at": 5})]]], 5),
        ([[b"1-0", [b"e", b"\xc1"]]], 0),
        ([[b"1-0", [b"e", msgpack.packb([])]]], 0),
    ],
)
async def test_the_time_of_the_last_event_is_read(page, time):
    class Reads:
        async def execute_command(self, *_command):
            return page

    assert await time_of_event(Reads(), "events", 1) == time
