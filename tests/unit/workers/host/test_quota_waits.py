"""Sessions that wait for a quota of their tenant."""

from skep_workers.host.quota_waits import MOST_REMEMBERED, QuotaWaits


def test_sessions_of_a_tenant_are_returned_in_the_order_in_which_they_came_and_once():
    waits = QuotaWaits()
    for session_id in ("acme/b", "beta/x", "acme/a", "acme/b"):
        waits.add(session_id)

    assert [waits.pop_next("acme") for _ in range(3)] == ["acme/b", "acme/a", None]
    assert waits.pop_next("beta") == "beta/x"
    assert waits.pop_next("other") is None


def test_a_bounded_number_of_sessions_is_remembered():
    waits = QuotaWaits()
    for number in range(MOST_REMEMBERED + 1):
        waits.add(f"acme/{number}")

    found = [waits.pop_next("acme") for _ in range(MOST_REMEMBERED + 1)]
    assert found[-2:] == [f"acme/{MOST_REMEMBERED - 1}", None]
