"""A process that is stuck before its next cell is noticed, and none that has begun it or shows another sign."""

import pytest

from skep_workers.host.residency.cells.cell_run import CellRun
from skep_workers.host.residency.cells.intake import QueuedCell
from skep_workers.host.residency.cells.start_watch import StartWatch
from skep_workers.host.residency.cells.window import CellWindow

pytestmark = pytest.mark.anyio

FIRST_SECONDS, SECONDS = 100.0, 10.0


class Process:
    """A process that has begun cells up to a seq."""

    begun = 1

    def has_begun(self, seq):
        return seq <= self.begun


@pytest.fixture
def process():
    return Process()


@pytest.fixture
def window(process):
    """The cells of a session whose first cell has ended."""
    window = CellWindow(1)
    window.attach(process)
    return window


@pytest.fixture
def stuck():
    """The reasons for which the process was considered stuck."""
    return []


@pytest.fixture
def watch(window, stuck):
    return StartWatch(window, FIRST_SECONDS, SECONDS, stuck.append)


def run_of(seq):
    return CellRun(QueuedCell(seq, f"c{seq}", None, 0), 1)


async def test_a_cell_that_is_not_begun_is_seen_by_two_checks(clock, watch, window, stuck):
    window.add(run_of(2))
    watch.begin()
    clock.move(FIRST_SECONDS)
    assert stuck == []
    clock.move(SECONDS)

    assert len(stuck) == 1
    assert window.head.was_not_begun
    clock.move(FIRST_SECONDS)
    assert len(stuck) == 1


async def test_a_cell_that_was_sent_between_two_checks_gets_its_time(clock, watch, window, stuck):
    watch.begin()
    clock.move(FIRST_SECONDS)
    window.add(run_of(2))
    clock.move(SECONDS)
    assert stuck == []
    clock.move(SECONDS)

    assert len(stuck) == 1


async def test_a_cell_that_has_begun_ends_the_checks(clock, watch, window, process, stuck):
    window.add(run_of(2))
    watch.begin()
    clock.move(FIRST_SECONDS)
    process.begun = 2
    clock.move(SECONDS)
    process.begun = 1
    for _ in range(9):
        clock.move(SECONDS)

    assert stuck == []


@pytest.mark.parametrize("waited", [0.0, FIRST_SECONDS])
async def test_another_sign_of_the_process_ends_the_checks(clock, watch, window, stuck, waited):
    window.add(run_of(2))
    watch.begin()
    clock.move(waited)
    watch.stop()
    for _ in range(20):
        clock.move(SECONDS)

    assert stuck == []


async def test_checks_begin_once(clock, watch, window, stuck):
    window.add(run_of(2))
    watch.begin()
    clock.move(FIRST_SECONDS - SECONDS)
    watch.begin()
    clock.move(SECONDS)
    clock.move(SECONDS)

    assert len(stuck) == 1


async def test_nothing_is_checked_without_a_process(clock, watch, window, stuck):
    window.add(run_of(2))
    watch.begin()
    window.detach()
    for _ in range(20):
        clock.move(SECONDS)

    assert stuck == []
