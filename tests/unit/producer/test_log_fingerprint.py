"""What a reader remembers of the log it has read."""

import pytest

from skep.log_fingerprint import LEVELS, POINTS, Trail


def walked(last, first=1):
    trail = Trail(first - 1)
    for number in range(first, last + 1):
        trail.add(number, b"%d" % number)
    return trail


def test_the_latest_events_are_all_remembered():
    trail = walked(200)

    assert set(range(200 - POINTS + 1, 201)) <= set(trail.points())


def test_far_back_some_are_remembered():
    trail = walked(POINTS**2 * 3)

    assert {POINTS, POINTS**2, POINTS**2 * 2} & set(trail.points()) == {POINTS**2, POINTS**2 * 2}
    assert len(trail.points()) <= POINTS * LEVELS


@pytest.mark.parametrize(("packed", "agrees"), [(b"7", True), (b"other", False)])
def test_bytes_are_compared_with_what_was_seen(packed, agrees):
    assert walked(9).agrees(7, packed) is agrees


def test_an_unseen_event_agrees_with_any_bytes():
    assert walked(9).agrees(12, b"12")


def test_a_resumed_reader_remembers_the_event_that_it_started_after():
    trail = Trail(17)

    assert trail.agrees(17, b"17")
    assert not trail.agrees(17, b"other")


def test_events_after_the_reset_are_forgotten():
    trail = walked(POINTS * 3)
    trail.go_back(POINTS * 2 - 1)

    assert (trail.seen, max(trail.points())) == (POINTS * 2 - 1, POINTS)
    assert trail.agrees(POINTS * 3, b"anything")
