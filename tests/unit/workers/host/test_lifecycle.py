"""The state of a residency, and the wake-up of its task."""

import asyncio

import pytest

from skep_shared.broker.script_replies import Claim
from skep_shared.errors import EventGap, Fenced, IllegalTransition
from skep_shared.states import ResidentState, ResidentStep
from skep_workers.host.residency.lifecycle import Lifecycle

pytestmark = pytest.mark.anyio

T = ResidentStep


@pytest.fixture
def lifecycle():
    return Lifecycle(Claim("s", "token", 1, 0, 0, 0, 0, "", False, b"", 0))


def test_a_session_that_was_being_closed_when_it_was_claimed_is_closed():
    assert Lifecycle(Claim("s", "token", 1, 0, 0, 0, 0, "", True, b"", 0)).is_closing


def test_a_rollback_sends_no_cells_but_does_not_end_the_residency(lifecycle):
    lifecycle.step(T.ROLL_BACK)

    assert (lifecycle.is_ready, lifecycle.is_leaving, lifecycle.may_start_process) == (False, False, False)


def test_a_hibernation_remembers_its_reason_when_the_worker_drains(lifecycle):
    lifecycle.hibernate("it was idle")
    lifecycle.step(T.DRAIN)

    assert (lifecycle.state, lifecycle.hibernation_reason) == (ResidentState.HIBERNATING, "it was idle")


def test_a_loss_and_a_gap_are_raised_and_a_loss_counts_first(lifecycle):
    lifecycle.find_gap(EventGap("s", 5, 3))
    with pytest.raises(EventGap):
        lifecycle.raise_if_lost()

    lifecycle.step(T.LOSE)
    with pytest.raises(Fenced):
        lifecycle.raise_if_lost()
    assert lifecycle.is_hurried


def test_a_notice_that_arrives_too_late_changes_nothing(lifecycle):
    lifecycle.step(T.FENCE)
    for step in (T.DRAIN, T.HURRY, T.CLOSE, T.LOSE):
        lifecycle.step(step)

    assert lifecycle.state is ResidentState.FENCED


def test_an_illegal_step_is_an_error_and_changes_nothing(lifecycle):
    with pytest.raises(IllegalTransition, match="claimed"):
        lifecycle.step(T.HELLO)

    assert lifecycle.may_start_process


async def test_a_step_wakes_the_task_that_waits(lifecycle):
    waiting = asyncio.create_task(lifecycle.next_change())
    await asyncio.sleep(0)
    lifecycle.step(T.START)
    async with asyncio.timeout(10):
        await waiting


async def test_a_wait_for_a_condition_ends_when_it_holds_or_after_its_time(lifecycle):
    await lifecycle.until(lambda: False, 0.0)

    waiting = asyncio.create_task(lifecycle.until(lambda: lifecycle.is_leaving, 60.0))
    await asyncio.sleep(0)
    lifecycle.notify()
    await asyncio.sleep(0)
    assert not waiting.done()
    lifecycle.step(T.DRAIN)
    async with asyncio.timeout(10):
        await waiting
