"""Answers of a worker: sent in order, sent again while their clients wait, limited in number and size."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from skep_shared.broker.keys import Keys
from skep_shared.broker.mailbox_entries import OperationRequest
from skep_shared.states import AnswerKind
from skep_shared.values import decode_value
from skep_workers.host.broker import answers as module
from skep_workers.host.broker.answers import Answers
from skep_workers.host.residency.operations import MOST_OPEN, MOST_WAITING, HostOperations

pytestmark = pytest.mark.anyio


class Pipeline:
    """Takes what is added, as a whole."""

    def __init__(self, redis):
        self._redis = redis
        self._added = []

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_exc):
        pass

    def xadd(self, key, fields, **_options):
        self._added.append((key, fields))

    def pexpire(self, *_arguments):
        pass

    async def execute(self):
        if self._redis.failures:
            self._redis.failures -= 1
            raise RedisConnectionError("away")
        self._redis.sent += self._added


class Redis:
    """Is away for a number of times."""

    def __init__(self):
        self.failures = 0
        self.sent = []

    def pipeline(self, **_options):
        return Pipeline(self)


@pytest.fixture
def redis():
    return Redis()


@pytest.fixture
async def answers(redis):
    answers = Answers(redis, Keys("t"), 60)
    running = asyncio.create_task(answers.run())
    yield answers
    running.cancel()


def request(number=0, expires_at=float("inf")):
    return OperationRequest("client", f"o{number}", "variables", b"", 20.0, expires_at)


def ids(redis):
    return [fields["o"] for _, fields in redis.sent]


async def test_answers_are_sent_in_order(answers, redis):
    for number in range(250):
        answers.add(request(number), AnswerKind.RESULT, b"x")
    await answers.wait_until_sent()

    assert ids(redis) == [f"o{number}" for number in range(250)]


async def test_answers_are_sent_again_after_an_error_of_redis(answers, redis):
    redis.failures = 2
    answers.add(request(), AnswerKind.RESULT, b"x")
    await answers.wait_until_sent()

    assert ids(redis) == ["o0"]


async def test_an_answer_is_not_sent_again_when_its_client_has_stopped_waiting(answers, redis):
    redis.failures = 1
    answers.add(request(1, expires_at=0.0), AnswerKind.RESULT, b"x")
    answers.add(request(2), AnswerKind.RESULT, b"x")
    await answers.wait_until_sent()

    assert ids(redis) == ["o2"]


async def test_an_answer_that_exceeds_the_limit_of_bytes_is_replaced_by_the_reason(answers, redis, monkeypatch):
    monkeypatch.setattr(module, "MAX_ANSWERS_BYTES", 10)
    answers.add(request(1), AnswerKind.RESULT, b"x" * 10)
    answers.add(request(2), AnswerKind.RESULT, b"x")
    await answers.wait_until_sent()

    (_, first), (_, second) = redis.sent
    assert (first["d"], second["x"]) == (b"x" * 10, AnswerKind.ERROR)
    assert "are waiting to be sent already" in decode_value(second["d"])


async def test_a_process_gets_a_few_requests_at_a_time(answers, redis):
    operations = HostOperations(answers)
    for number in range(MOST_WAITING + 1):
        operations.add(request(number))
    assert len(list(operations.begin())) == MOST_OPEN
    assert list(operations.begin()) == []
    operations.requeue_open()
    operations.send_back()
    await answers.wait_until_sent()

    kinds = {fields["o"]: fields["x"] for _, fields in redis.sent}
    assert kinds.pop(f"o{MOST_WAITING}") == AnswerKind.ERROR  # refused at once
    assert list(kinds) == [f"o{number}" for number in range(MOST_WAITING)]
    assert set(kinds.values()) == {AnswerKind.MOVED}
