"""Operations: one reply each, whether they are valid, cancelled or late; their states follow the table."""

import queue
import threading

import pytest

from skep_shared.protocol.frames import Reply, Request
from skep_shared.states import OperationState
from skep_shared.values import decode_value, encode_value
from skep_workers.session.control.operations import MAX_WAITING, OperationQueue


class Bench:
    """Operations with a handler that waits until it is released."""

    def __init__(self):
        self.answers = queue.SimpleQueue()
        self.started = queue.SimpleQueue()
        self.go = threading.Semaphore(0)
        self.operations = OperationQueue(
            {
                "echo": lambda question: question,
                "wait": self._wait,
                "exit": self._exit,
                "huge": lambda _: "x" * 10_000_000,
            },
            self.answers.put,
        )

    def _wait(self, question):
        self.started.put(question)
        self.go.acquire()
        return question

    def _exit(self, question):
        raise SystemExit(question)

    def submit(self, number, kind, deadline=3600.0, question=None):
        self.operations.submit(Request(number, kind, encode_value(question), deadline))

    def answer(self):
        reply = self.answers.get(timeout=30)
        assert isinstance(reply, Reply)
        return reply.operation, reply.is_error, decode_value(reply.payload)


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.go.release(1000)


def test_a_request_is_answered(bench):
    bench.submit(1, "echo", question={"a": 1})

    assert bench.answer() == (1, False, {"a": 1})


def test_an_unknown_kind_is_refused_at_once(bench):
    bench.submit(1, "levitate")

    assert bench.answer() == (1, True, "unknown operation 'levitate'")


def test_a_late_operation_is_answered_once_and_its_result_dropped(bench):
    bench.submit(1, "wait", deadline=0.0)
    bench.started.get(timeout=30)
    assert bench.operations.expire() is None
    assert bench.answer() == (1, True, "no answer within 0 s")
    bench.go.release()
    bench.submit(2, "echo")

    assert bench.answer() == (2, False, None)


def test_an_operation_that_is_late_before_its_turn_never_starts(bench):
    bench.submit(1, "wait")
    bench.started.get(timeout=30)
    bench.submit(2, "wait", deadline=0.0, question="late")
    bench.operations.expire()
    assert bench.answer()[:2] == (2, True)
    bench.go.release()
    assert bench.answer() == (1, False, None)
    bench.submit(3, "echo")

    assert bench.answer() == (3, False, None)
    assert bench.started.empty()


def test_a_cancelled_operation_is_not_answered(bench):
    bench.submit(1, "wait")
    bench.started.get(timeout=30)
    bench.submit(2, "echo")
    bench.operations.cancel(2)
    bench.operations.cancel(1)
    bench.operations.cancel(1)
    bench.go.release()
    bench.submit(3, "echo")

    assert bench.answer()[0] == 3


def test_the_next_deadline_is_returned(bench):
    assert bench.operations.expire() is None
    bench.submit(1, "wait", deadline=1000.0)
    bench.submit(2, "wait", deadline=500.0)
    first = bench.operations.expire()
    bench.operations.cancel(2)

    assert first < bench.operations.expire()


def test_operations_over_the_limit_are_refused(bench):
    for number in range(MAX_WAITING + 1):
        bench.submit(number, "wait")

    assert bench.answer() == (MAX_WAITING, True, f"{MAX_WAITING} operations are waiting already")


def test_system_exit_in_an_operation_is_an_error_and_the_next_one_is_answered(bench):
    bench.submit(1, "exit", question="now")
    bench.submit(2, "echo")

    assert bench.answer() == (1, True, "SystemExit: now")
    assert bench.answer() == (2, False, None)


def test_an_answer_too_large_to_send_is_an_error(bench):
    bench.submit(1, "huge")

    assert bench.answer()[1:] == (True, "ValueError: the answer has 10000005 bytes, over the limit of 8388608")


def test_a_request_that_can_not_be_decoded_is_an_error(bench):
    bench.operations.submit(Request(1, "echo", b"\xc1", 30.0))

    assert bench.answer()[:2] == (1, True)


def test_states_follow_the_table():
    assert [str(state) for state in OperationState] == ["pending", "active", "done"]
