"""The sessions that the proxy knows, and how often their refusals are reported."""

from skep_workers.proxy.permissions import REPORT_SECONDS, REPORTS, Permissions, RefusalLog, digest_of


class Clock:
    """Seconds that a test sets."""

    now = 100.0

    def __call__(self):
        return self.now


def test_a_session_is_found_by_its_token_and_has_the_common_hosts():
    permissions = Permissions()
    permissions.set_common(["common.example"])
    permissions.permit(1, digest_of("first"), ["a.example"])
    permissions.permit(2, digest_of("second"), [])
    first, second = permissions.find("first"), permissions.find("second")

    assert [session.key for session in (first, second)] == [1, 2]
    assert [session.admits("common.example", 443) for session in (first, second)] == [True, True]
    assert [session.admits("a.example", 443) for session in (first, second)] == [True, False]


def test_other_tokens_find_nothing():
    permissions = Permissions()
    permissions.permit(1, digest_of("token"), [])
    permissions.permit(2, digest_of(""), [])

    assert [permissions.find(token) for token in ("", "Token", "token ", digest_of("token").hex(), "\udc80")] == [
        None
    ] * 5


def test_a_session_that_has_ended_is_forgotten_and_its_connections_end():
    permissions, ended = Permissions(), []
    permissions.permit(1, digest_of("token"), [])
    session = permissions.find("token")
    with session.owning(lambda: ended.append("first")), session.owning(lambda: ended.append("second")):
        with session.owning(lambda: ended.append("over")):
            pass
        permissions.revoke(1)
        permissions.revoke(1)

    assert sorted(ended) == ["first", "second"]
    assert permissions.find("token") is None


def test_a_new_token_replaces_the_old_one():
    permissions = Permissions()
    permissions.permit(1, digest_of("old"), [])
    permissions.permit(1, digest_of("new"), [])

    assert permissions.find("old") is None
    assert permissions.find("new").key == 1


def test_a_refusal_is_reported_once_and_again_after_a_while():
    clock = Clock()
    refusals = RefusalLog(clock)
    assert [refusals.admits("a", 1), refusals.admits("a", 1), refusals.admits("a", 2)] == [True, False, True]

    clock.now += REPORT_SECONDS
    assert [refusals.admits("a", 1), refusals.admits("a", 1)] == [True, False]


def test_refusals_of_ever_new_hosts_are_bounded():
    clock = Clock()
    refusals = RefusalLog(clock)
    assert sum(refusals.admits(f"h{number}", 1) for number in range(10 * REPORTS)) == REPORTS

    clock.now += REPORT_SECONDS
    assert sum(refusals.admits(f"h{number}", 1) for number in range(10 * REPORTS)) == REPORTS
