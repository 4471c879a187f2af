"""A cell does not wait for its checkpoint beyond the deadline."""

import pytest

from skep_workers.host.residency.checkpoint_deadline import (
    INTERRUPTED,
    MARGIN_SECONDS,
    SAVED_TOO_LATE,
    TRIES,
    SaveWatch,
)

pytestmark = pytest.mark.anyio

SNAPSHOT_SECONDS = 10.0
INTERRUPT_SECONDS = 2.0


@pytest.fixture
def said():
    """The calls of the deadline, in order."""
    return []


@pytest.fixture
def watch(said):
    """A deadline that has not been started."""
    return SaveWatch(
        SNAPSHOT_SECONDS,
        INTERRUPT_SECONDS,
        lambda reason: said.append(("due", reason)),
        lambda reason: said.append(("stuck", reason)),
    )


async def test_a_process_that_sends_nothing_is_considered_stuck(clock, watch, said):
    watch.expect(is_limited=False)
    clock.move(TRIES * SNAPSHOT_SECONDS + MARGIN_SECONDS - 0.1)
    assert said == []
    clock.move(0.2)

    assert [kind for kind, _ in said] == ["stuck"]


async def test_a_process_that_keeps_sending_is_not_considered_stuck(clock, watch, said):
    watch.expect(is_limited=False)
    for _ in range(10):
        clock.move(TRIES * SNAPSHOT_SECONDS)
        watch.progress()

    assert said == []


async def test_an_interrupt_ends_the_wait_after_the_grace_period_and_further_ones_do_not_postpone_it(
    clock, watch, said
):
    watch.expect(is_limited=False)
    watch.interrupt()
    clock.move(INTERRUPT_SECONDS / 2)
    watch.interrupt()
    clock.move(INTERRUPT_SECONDS / 2)

    assert said == [("due", INTERRUPTED)]


async def test_a_cell_whose_wait_is_limited_waits_for_one_snapshot(clock, watch, said):
    watch.expect(is_limited=True)
    clock.move(SNAPSHOT_SECONDS)

    assert said == [("due", SAVED_TOO_LATE)]


async def test_without_a_waiting_cell_no_deadline_expires(clock, watch, said):
    watch.interrupt()
    watch.progress()
    watch.expect(is_limited=True)
    watch.interrupt()
    watch.stop()
    clock.move(10 * TRIES * SNAPSHOT_SECONDS)

    assert said == []
