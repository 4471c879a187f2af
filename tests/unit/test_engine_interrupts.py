"""What the signal handlers and the ladder make of a request, in the order in which its two ways may bring it."""

import asyncio
import signal
import sys
import threading

import pytest

from skep_workers.session.interrupts import HARD_SIGNAL, Interrupter, Reason
from skep_workers.session.ladder import Ladder
from skep_workers.session.loop import SessionLoop
from skep_workers.session.shield import Shield
from skep_workers.session.writer import Writer

FIRST, SECOND, THIRD = Writer(1, 1), Writer(2, 1), Writer(3, 1)


class Session:
    """An interrupter on the thread of the test, whose signals are noted instead of handled."""

    def __init__(self, monkeypatch):
        self.loop = SessionLoop()
        self.shield = Shield()
        self.page = (0, 0)
        self.sent = []
        self.now = 100.0
        self.interrupter = Interrupter(self.loop, self.shield, lambda: self.page)
        self.ladder = Ladder(self.interrupter)
        monkeypatch.setattr(
            "skep_workers.session.ladder.signal.pthread_kill", lambda _thread, number: self.sent.append(number)
        )
        ours = self.interrupter._on_signal
        monkeypatch.setattr("skep_workers.session.interrupts.getsignal", lambda _number: ours)
        monkeypatch.setattr("skep_workers.session.ladder.monotonic", lambda: self.now)
        monkeypatch.setattr("skep_workers.session.ladder.interrupt_children", lambda **_: None)

    def run(self, cell, timeout_seconds=None):
        self.interrupter.start(cell, None, timeout_seconds)
        self.interrupter.enter()

    def end(self, cell):
        self.interrupter.is_in_user_code = False
        self.interrupter.forget(cell)

    def sigint(self):
        self.interrupter._on_signal(signal.SIGINT, None)

    def workers_signal(self):
        self.interrupter._on_workers_signal(0, None)

    def give_within_the_shield(self, *signals):
        with self.shield:
            for give in signals:
                give()

    def wait(self, seconds):
        self.now += seconds
        self.ladder.tick()


@pytest.fixture
def session(monkeypatch):
    session = Session(monkeypatch)
    yield session
    asyncio.SelectorEventLoop.close(session.loop)


@pytest.mark.parametrize("order", ["sigint first", "the worker's signal first"])
def test_both_signals_behind_the_shield_are_one_interrupt(session, order):
    session.run(FIRST)
    session.page = FIRST
    session.ladder.request(FIRST)
    signals = [session.sigint, session.workers_signal]
    with pytest.raises(KeyboardInterrupt):
        session.give_within_the_shield(*(signals if order == "sigint first" else reversed(signals)))
    session.sigint()
    session.workers_signal()


def test_the_workers_signal_that_comes_before_the_cell_is_heard_when_it_starts(session):
    session.page = FIRST
    session.workers_signal()
    with pytest.raises(KeyboardInterrupt):
        session.run(FIRST)


def test_a_request_that_comes_late_is_dropped(session):
    session.run(FIRST)
    session.end(FIRST)
    session.ladder.request(FIRST)

    assert session.interrupter.requested == {}
    assert (session.sent, session.ladder.next_deadline()) == ([], None)


def test_a_request_that_crosses_with_the_end_leaves_nothing_behind(session):
    session.run(FIRST)
    session.ladder.request(FIRST)
    session.end(FIRST)
    session.sent.clear()
    for _ in range(200):
        session.wait(0.05)

    assert session.interrupter.requested == {}
    assert (session.sent, session.ladder.next_deadline()) == ([], None)


def test_a_request_for_a_cell_to_come_signals_nobody_while_another_runs(session):
    session.run(FIRST)
    session.ladder.request(SECOND)
    for _ in range(200):
        session.wait(0.05)

    assert session.sent == []
    session.end(FIRST)
    with pytest.raises(KeyboardInterrupt):
        session.run(SECOND)
    assert session.interrupter.reason(SECOND) is Reason.INTERRUPT


def test_a_cell_that_can_not_start_is_insisted_on_after_the_grace(session):
    session.run(FIRST)
    session.ladder.request(SECOND)
    session.end(FIRST)
    session.wait(0.0)
    session.wait(session.ladder.grace_seconds)

    assert session.sent == [HARD_SIGNAL]
    assert session.interrupter.insisted_on == SECOND


def test_nobody_insists_on_a_cell_whose_turn_it_is_not(session):
    session.run(FIRST)
    session.ladder.request(THIRD)
    session.end(FIRST)
    session.wait(0.0)
    session.wait(10.0)

    assert session.sent == []


def test_each_cell_has_a_grace_of_its_own(session):
    session.run(FIRST)
    session.ladder.request(FIRST)
    session.ladder.request(SECOND)
    session.wait(session.ladder.grace_seconds)
    assert session.interrupter.insisted_on == FIRST
    session.end(FIRST)
    session.wait(0.0)

    assert session.interrupter.insisted_on is None
    assert session.ladder.next_deadline() == session.now + session.ladder.grace_seconds


def test_what_was_not_heard_is_sent_again_until_it_is(session):
    session.run(FIRST)
    session.ladder.request(FIRST)
    session.wait(0.05)
    session.wait(0.05)
    with pytest.raises(KeyboardInterrupt):
        session.interrupter._on_hard_signal(HARD_SIGNAL, None)
    session.wait(0.05)

    assert session.sent == [signal.SIGINT, HARD_SIGNAL, HARD_SIGNAL]


def test_an_interrupt_that_a_finalizer_swallows_is_not_heard(session):
    class Finalized:
        def __del__(self):
            session.sigint()

    session.run(FIRST)
    session.ladder.request(FIRST)
    hook = session.interrupter._on_unraisable
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.unraisablehook", hook)
        Finalized()
    session.wait(0.05)

    assert session.sent == [signal.SIGINT, HARD_SIGNAL]


def test_a_cell_times_out_once(session, monkeypatch):
    monkeypatch.setattr("skep_workers.session.interrupts.monotonic", lambda: session.now)
    session.run(FIRST, timeout_seconds=1.0)
    assert session.ladder.next_deadline() == session.now + 1.0
    session.wait(1.0)
    session.wait(0.01)

    assert session.sent == [signal.SIGINT]
    assert session.interrupter.reason(FIRST) is Reason.TIMEOUT


def test_a_condition_is_not_cut_short(session):
    condition = threading.Condition(threading.Lock())
    heard = []

    class Lock:
        def acquire(self):
            session.interrupter._on_signal(signal.SIGINT, sys._getframe(1))
            heard.append("not yet")

    session.run(FIRST)
    session.ladder.request(FIRST)
    condition._lock = Lock()
    condition._acquire_restore(None)
    session.wait(0.05)

    assert heard == ["not yet"]
    assert session.sent == [signal.SIGINT, HARD_SIGNAL]
