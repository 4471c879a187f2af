"""All tries to save one state share the time that a snapshot has."""

import pytest

from skep_workers.session.checkpoint.saving import patience as module
from skep_workers.session.checkpoint.saving.patience import Patience


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


def test_a_few_tries_that_take_all_of_their_time_stay_within_the_limit(clock):
    patience = Patience()
    for _ in range(4):
        clock.now += patience.seconds(60)

    assert clock.now <= 60
    assert not patience.is_over


def test_tries_without_end_are_given_up(clock):
    patience = Patience()
    while not patience.is_over:
        clock.now += patience.seconds(60)

    assert clock.now < 3 * 60


def test_the_first_try_has_most_of_it(clock):
    assert Patience().seconds(60) == 45


def test_time_that_passes_between_tries_counts(clock):
    patience = Patience()
    patience.seconds(60)
    clock.now = 100

    assert patience.seconds(60) == 3


def test_a_saved_state_ends_it(clock):
    patience = Patience()
    patience.seconds(60)
    clock.now = 1000
    patience.seconds(60)
    patience.reset()

    assert patience.seconds(60) == 45
    assert not patience.is_over
