"""What has to be done to keep a session within its bounds, decided from its hash."""

import pytest

from skep_shared.settings import WorkerSettings
from skep_workers.host.maintenance.bounds import DAY_MS, FACT_FIELDS, SessionBounds, SessionFacts, Upkeep, work_on

NOW = 100 * DAY_MS
BOUNDS = SessionBounds(events=10, events_ms=0, cell_ids=5, closed_ms=30 * DAY_MS, idle_ms=0)


def facts(**changes):
    values = {
        "state": "open", "seq": 3, "cursor": 3, "last": 8, "floor": 1, "tail": 6, "active_ms": NOW - DAY_MS,
        "is_expired": False, "ids": 3,
    }  # fmt: skip
    return SessionFacts(**(values | changes))


def bounds(**changes):
    return SessionBounds(**{name: changes.get(name, getattr(BOUNDS, name)) for name in SessionBounds.__slots__})


def test_the_defaults_of_the_settings():
    days = 30 * DAY_MS

    assert SessionBounds.of(WorkerSettings()) == SessionBounds(1_000_000, 0.0, 100_000, days, 0.0)


def test_facts_are_read_from_a_hash():
    values = dict.fromkeys(FACT_FIELDS) | {"state": b"open", "last": b"8", "created_at": b"5"}

    assert SessionFacts.read(values, 3) == SessionFacts("open", 0, 0, 8, 1, 1, 5, False, 3)


def test_a_small_session_needs_no_work():
    assert work_on(facts(), BOUNDS, NOW) == []


@pytest.mark.parametrize(
    ("last", "tail", "floor", "expected"),
    [
        (10, 9, 1, []),
        (11, 9, 1, [Upkeep.TRIM_BY_COUNT]),
        (11, 9, 2, []),
        (50, 1, 1, []),  # the last committed cell is the first
        (50, 7, 7, []),  # all of them but the last one's are gone
        (50, 8, 7, [Upkeep.TRIM_BY_COUNT]),
    ],
)
def test_events_above_the_count_are_trimmed_up_to_the_tail(last, tail, floor, expected):
    assert work_on(facts(last=last, tail=tail, floor=floor), BOUNDS, NOW) == expected


def test_with_a_limit_of_age_the_events_are_checked():
    assert work_on(facts(), bounds(events_ms=DAY_MS), NOW) == [Upkeep.TRIM_BY_AGE]
    assert work_on(facts(tail=1), bounds(events_ms=DAY_MS), NOW) == []


@pytest.mark.parametrize(("ids", "expected"), [(6, []), (7, [Upkeep.FORGET_IDS])])
def test_ids_are_forgotten_when_there_are_a_tenth_too_many(ids, expected):
    assert work_on(facts(ids=ids), BOUNDS, NOW) == expected


def test_ids_of_pending_cells_do_not_count():
    assert work_on(facts(ids=9, seq=9, cursor=3), BOUNDS, NOW) == []


def test_a_closed_session_is_checked_unless_it_is_kept_forever():
    assert work_on(facts(state="closed"), BOUNDS, NOW) == [Upkeep.PURGE_CLOSED]
    assert work_on(facts(state="closed"), bounds(closed_ms=0), NOW) == []


@pytest.mark.parametrize(("state", "expected"), [("open", [Upkeep.EXPIRE]), ("closing", [])])
def test_an_open_session_that_was_idle_for_long_expires(state, expected):
    assert work_on(facts(state=state), bounds(idle_ms=DAY_MS - 1, closed_ms=0), NOW) == expected
    assert work_on(facts(state=state), bounds(idle_ms=DAY_MS + 1, closed_ms=0), NOW) == []


def test_without_a_bound_nothing_expires():
    assert work_on(facts(active_ms=0), BOUNDS, NOW) == []


def test_an_expired_session_is_purged_whatever_the_bounds():
    assert work_on(facts(state="closed", is_expired=True), bounds(closed_ms=0), NOW) == [Upkeep.EXPIRE]


def test_an_index_entry_without_a_session_is_checked():
    assert work_on(facts(state=""), BOUNDS, NOW) == [Upkeep.EXPIRE]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [Upkeep.CLOSE_UNUSED]),
        ({"expires_ms": DAY_MS + 1}, []),
        ({"expires_ms": None}, []),
        ({"cursor": 2}, []),
        ({"state": "closing"}, []),
        ({"state": "closed"}, [Upkeep.PURGE_CLOSED]),
    ],
)
def test_an_open_session_that_is_unused_for_longer_than_its_option_is_closed(changes, expected):
    assert work_on(facts(**{"expires_ms": DAY_MS} | changes), BOUNDS, NOW) == expected


def test_an_unused_session_that_is_to_be_removed_is_not_only_closed():
    assert work_on(facts(expires_ms=1.0), bounds(idle_ms=1), NOW) == [Upkeep.EXPIRE]


def test_the_expiry_of_a_session_is_read_in_seconds():
    values = dict.fromkeys(FACT_FIELDS)

    assert SessionFacts.read(values, 0, b"2.5").expires_ms == 2500
    assert SessionFacts.read(values, 0, b"").expires_ms is None
    with pytest.raises(ValueError, match="could not convert"):
        SessionFacts.read(values, 0, b"table: 0x1")
