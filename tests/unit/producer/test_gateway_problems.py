"""Every error of the tree as a problem document."""

import json

import pytest

from skep.gateway.problems import KINDS, packed, problem_of, problem_response
from skep_shared import errors


def test_the_fields_of_an_error_are_members():
    problem, wait = problem_of(errors.BacklogFull("s", 10, 9))

    assert (problem.type, problem.status, wait) == ("urn:skep:BacklogFull", 429, 1)
    assert json.loads(packed(problem)).items() >= {"session_id": "s", "pending": 10, "limit": 9}.items()


def test_every_error_that_a_client_can_raise_has_its_own_document():
    internal = {errors.ProtocolError, errors.IllegalTransition, errors.Fenced, errors.EventGap, errors.CellError}
    kinds = {getattr(errors, name) for name in errors.__all__}
    for kind in set(errors.SkepError.__subclasses__()) & kinds - internal:
        assert kind in KINDS, kind


@pytest.mark.parametrize(
    ("exc", "seconds"),
    [
        (errors.RateExceeded("s", 1, 60, 1.2), "2"),
        (errors.RateExceeded("s", 99, 60, 0), None),
        (errors.QuotaExceeded("t", "cells_a_minute", 2, 1, 7.0), "7"),
        (errors.QuotaExceeded("t", "max_bytes", 2, 1), None),
    ],
)
def test_a_known_pause_is_sent(exc, seconds):
    response = problem_response(*problem_of(exc))

    assert response.status_code == 429
    assert response.headers.get("retry-after") == seconds


@pytest.mark.parametrize(
    "exc",
    [
        errors.RedisUnavailable("redis://secret-host:6379", "refused by 10.0.0.1"),
        errors.RedisRefused("redis://secret-host:6379", "refused by 10.0.0.1", "ask 10.0.0.1"),
        errors.RedisUnsuitable("version", "10.0.0.1", "6.2", "10.0.0.1"),
        errors.StartError("worker", "10.0.0.1"),
        errors.Fenced("secret-host", 1),
        errors.MalformedFrame("10.0.0.1"),
    ],
)
def test_what_is_not_the_callers_business_is_not_sent(exc):
    problem, _ = problem_of(exc)

    assert problem.status in {500, 503}
    assert b"secret-host" not in packed(problem)
    assert b"10.0.0.1" not in packed(problem)


@pytest.mark.parametrize("value", ["x" * 10_000, "\ud800", object(), float("nan"), [[1] * 1000], {1: b"x"}, b"\xff"])
def test_a_refused_value_is_shown_shortened_and_as_json(value):
    problem, _ = problem_of(errors.InvalidArgument("field", value, "it is refused"))

    document = json.loads(packed(problem))
    assert len(json.dumps(document["value"])) < 1500
    assert document["limit"] == "it is refused"
