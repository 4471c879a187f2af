"""How often the activation of a waiting session is requested."""

from itertools import pairwise

import pytest

from skep_workers.host.broker.activation_backoff import (
    FIRST_SECONDS,
    LONGEST_SECONDS,
    MOST_REMEMBERED,
    ActivationBackoff,
)


def requested_at(backoff, seconds, *, every=0.1, session_id="s"):
    """Return the times at which a session is requested if that is tried every `every` seconds."""
    return [step * every for step in range(round(seconds / every)) if backoff.record_if_due(session_id, step * every)]


def test_a_session_is_requested_after_twice_as_long_each_time_up_to_a_limit():
    times = requested_at(ActivationBackoff(), 60)
    pauses = [later - before for before, later in pairwise(times)]

    assert times[0] == 0
    assert pauses[:3] == pytest.approx([FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS])
    assert max(pauses) <= LONGEST_SECONDS + 0.1


def test_sessions_are_independent_of_each_other():
    backoff = ActivationBackoff()

    assert [backoff.record_if_due(name, 0.0) for name in ("a", "b", "a")] == [True, True, False]


def test_a_session_that_was_not_waiting_for_long_starts_with_the_shortest_pause():
    backoff = ActivationBackoff()
    requested_at(backoff, 10)

    assert backoff.record_if_due("s", 100.0)
    assert backoff.record_if_due("s", 100.0 + FIRST_SECONDS)


def test_a_session_whose_owner_has_died_starts_with_the_shortest_pause():
    backoff = ActivationBackoff()
    backoff.record_if_due("s", 0.0)
    backoff.forget("s")

    assert backoff.record_if_due("s", 0.0)


def test_the_number_of_remembered_sessions_is_limited():
    backoff = ActivationBackoff()
    for number in range(MOST_REMEMBERED + 1):
        backoff.record_if_due(str(number), 0.0)

    assert backoff.record_if_due("0", 0.0)
    assert not backoff.record_if_due(str(MOST_REMEMBERED), 0.0)
