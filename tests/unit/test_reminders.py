"""How often a waiting session is asked for."""

from itertools import pairwise

import pytest

from skep_workers.host.reminders import FIRST_SECONDS, LONGEST_SECONDS, MOST_REMEMBERED, Reminders


def asked(reminders, seconds, *, every=0.1, session_id="s"):
    """Give the times at which a session that is named so often is asked for."""
    return [step * every for step in range(round(seconds / every)) if reminders.take(session_id, step * every)]


def test_a_session_is_asked_for_after_twice_as_long_each_time_up_to_a_bound():
    times = asked(Reminders(), 60)
    pauses = [later - before for before, later in pairwise(times)]

    assert times[0] == 0
    assert pauses[:3] == pytest.approx([FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS])
    assert max(pauses) <= LONGEST_SECONDS + 0.1


def test_sessions_have_nothing_to_do_with_each_other():
    reminders = Reminders()

    assert [reminders.take(name, 0.0) for name in ("a", "b", "a")] == [True, True, False]


def test_one_that_was_not_named_for_long_is_new_again():
    reminders = Reminders()
    asked(reminders, 10)

    assert reminders.take("s", 100.0)
    assert reminders.take("s", 100.0 + FIRST_SECONDS)


def test_one_whose_owner_has_died_is_new_again():
    reminders = Reminders()
    reminders.take("s", 0.0)
    reminders.forget("s")

    assert reminders.take("s", 0.0)


def test_only_so_many_are_remembered():
    reminders = Reminders()
    for number in range(MOST_REMEMBERED + 1):
        reminders.take(str(number), 0.0)

    assert reminders.take("0", 0.0)
    assert not reminders.take(str(MOST_REMEMBERED), 0.0)
