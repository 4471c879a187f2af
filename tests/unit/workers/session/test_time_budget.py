"""All attempts to save one state share the time that a snapshot has."""

import pytest

from skep_workers.session.checkpoint.saving import time_budget as module
from skep_workers.session.checkpoint.saving.time_budget import TimeBudget


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


def test_a_few_attempts_that_use_all_their_time_keep_the_limit(clock):
    budget = TimeBudget()
    for _ in range(4):
        clock.now += budget.next_seconds(60)

    assert clock.now <= 60
    assert not budget.is_over


def test_endless_attempts_are_given_up(clock):
    budget = TimeBudget()
    while not budget.is_over:
        clock.now += budget.next_seconds(60)

    assert clock.now < 3 * 60


def test_the_first_attempt_has_most_of_the_time(clock):
    assert TimeBudget().next_seconds(60) == 45


def test_time_between_attempts_counts(clock):
    budget = TimeBudget()
    budget.next_seconds(60)
    clock.now = 100

    assert budget.next_seconds(60) == 3


def test_a_saved_state_starts_a_new_budget(clock):
    budget = TimeBudget()
    budget.next_seconds(60)
    clock.now = 1000
    budget.next_seconds(60)
    budget.reset()

    assert budget.next_seconds(60) == 45
    assert not budget.is_over
