"""How many requests and streams a gateway permits."""

import pytest

from skep.gateway.problems import Refused
from skep.gateway.quota import Quota
from skep.gateway.settings import GatewaySettings


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def quota(**settings):
    clock = Clock()
    return Quota(GatewaySettings(**settings), clock), clock


def test_a_request_that_ends_makes_room_for_another():
    bounded, _ = quota(max_requests=1)
    slot = bounded.enter()
    with pytest.raises(Refused) as caught:
        bounded.enter()
    slot.leave()
    bounded.enter()

    assert (caught.value.problem.status, caught.value.retry_after) == (503, 1)


def test_a_refused_request_of_a_token_leaves_no_trace():
    bounded, _ = quota(max_requests_per_token=1)
    first, second = bounded.enter(), bounded.enter()
    first.of_token("a")
    with pytest.raises(Refused) as caught:
        second.of_token("a")
    second.leave()
    assert (caught.value.problem.status, bounded.requests, bounded.requests_of["a"]) == (429, 1, 1)
    first.leave()

    assert (bounded.requests, dict(bounded.requests_of)) == (0, {})


def test_a_stream_is_no_request_any_more():
    bounded, _ = quota(max_requests=1, max_streams=1)
    slot = bounded.enter()
    slot.of_token("a")
    slot.become_stream()
    assert (bounded.requests, bounded.streams) == (0, 1)

    other = bounded.enter()
    other.of_token("b")
    with pytest.raises(Refused):
        other.become_stream()
    other.leave()
    slot.leave()
    assert (bounded.requests, bounded.streams, dict(bounded.streams_of)) == (0, 0, {})


def test_the_rate_of_a_token_recovers_with_time():
    bounded, clock = quota(requests_per_minute=2)
    bounded.take_rate("a")
    bounded.take_rate("a")
    with pytest.raises(Refused) as caught:
        bounded.take_rate("a")
    bounded.take_rate("b")
    clock.now += 29.9
    with pytest.raises(Refused):
        bounded.take_rate("a")
    clock.now += 0.2
    bounded.take_rate("a")

    assert caught.value.retry_after == 30


def test_no_rate_is_no_limit():
    bounded, _ = quota(requests_per_minute=0)
    for _ in range(1000):
        bounded.take_rate("a")
