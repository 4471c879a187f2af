"""How the signal handlers and the escalation treat a request, in each order in which its signal and frame may arrive."""

import asyncio
import signal
import sys
import threading
from types import SimpleNamespace

import pytest

from skep_shared.protocol.interrupt_page import INTERRUPT_SIGNAL, InterruptPage, make_page
from skep_workers.session.attribution.writer import Writer
from skep_workers.session.errors.uncaught import engine_interrupt
from skep_workers.session.interrupt.escalation import UNHEARD_REPEAT_SECONDS, Escalation
from skep_workers.session.interrupt.interrupts import HARD_SIGNAL, MARK_SECONDS, Interrupter
from skep_workers.session.interrupt.requests import Reason
from skep_workers.session.runtime.loop import SessionLoop
from skep_workers.session.safeguards.shield import Shield

FIRST, SECOND, THIRD = Writer(1, 1), Writer(2, 1), Writer(3, 1)


class Session:
    """An interrupter on the thread of the test, whose signals are recorded instead of sent."""

    def __init__(self, monkeypatch):
        self.loop = SessionLoop()
        self.shield = Shield()
        self.page = InterruptPage(make_page())
        self.sent = []
        self.now = 100.0
        self.interrupter = Interrupter(self.loop, self.shield, self.page.has)
        self.escalation = Escalation(self.interrupter)
        monkeypatch.setattr(
            "skep_workers.session.interrupt.escalation.signal.pthread_kill",
            lambda _thread, number: self.sent.append(number),
        )
        ours = self.interrupter._on_signal
        monkeypatch.setattr("skep_workers.session.interrupt.interrupts.getsignal", lambda _number: ours)
        for module in ("escalation", "interrupts"):
            monkeypatch.setattr(f"skep_workers.session.interrupt.{module}.monotonic", lambda: self.now)
        monkeypatch.setattr("skep_workers.session.interrupt.escalation.interrupt_children", lambda **_: None)

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

    def deliver_within_the_shield(self, *signals):
        with self.shield:
            for deliver in signals:
                deliver()

    def wait(self, seconds):
        self.now += seconds
        self.escalation.run_due_steps()


@pytest.fixture
def session(monkeypatch):
    session = Session(monkeypatch)
    yield session
    asyncio.SelectorEventLoop.close(session.loop)


@pytest.mark.parametrize("order", ["sigint first", "the worker's signal first"])
def test_both_signals_deferred_by_the_shield_are_one_interrupt(session, order):
    session.run(FIRST)
    session.page.write(*FIRST)
    session.escalation.request(FIRST)
    signals = [session.sigint, session.workers_signal]
    with pytest.raises(KeyboardInterrupt):
        session.deliver_within_the_shield(*(signals if order == "sigint first" else reversed(signals)))
    session.sigint()
    session.workers_signal()


def test_the_workers_signal_before_the_cell_ends_it_at_its_start(session):
    session.page.write(*FIRST)
    session.workers_signal()
    with pytest.raises(KeyboardInterrupt):
        session.run(FIRST)


def test_a_waiting_cell_whose_frame_is_late_ends_at_its_start_although_another_one_was_named_since(session):
    session.page.write(*SECOND)
    session.workers_signal()
    session.page.write(*FIRST)
    with pytest.raises(KeyboardInterrupt):
        session.run(FIRST)
    session.end(FIRST)
    with pytest.raises(KeyboardInterrupt):
        session.run(SECOND)
    session.end(SECOND)
    session.run(THIRD)


def test_the_cells_own_sigint_between_its_code_and_the_loop_is_passed_to_the_cell_by_the_loop(session):
    passed = []
    session.interrupter.pass_to_cell = passed.append

    async def engine_after_the_cell_has_stopped_at_an_await():
        session.interrupter.start(FIRST, asyncio.current_task(), None)
        session.interrupter.enter()
        session.sigint()  # no frame of a cell is on the stack
        await asyncio.sleep(0)

    async def session_main():
        await session.loop.create_task(engine_after_the_cell_has_stopped_at_an_await())

    session.loop.run_until_complete(session_main())

    assert [type(exc) for exc in passed] == [KeyboardInterrupt]


def test_a_sigint_signalled_again_while_its_loss_is_recorded_is_not_lost_again(session, monkeypatch):
    monkeypatch.setattr("skep_workers.session.interrupt.interrupts.runs_a_cell", lambda _frame: True)
    session.run(FIRST)
    session.interrupter.wake_control_thread = session.workers_signal  # at the worst moment

    session.interrupter._on_unraisable(SimpleNamespace(exc_type=KeyboardInterrupt, exc_value=engine_interrupt()))

    with pytest.raises(KeyboardInterrupt):
        session.workers_signal()


def test_a_late_request_is_dropped(session):
    session.run(FIRST)
    session.end(FIRST)
    session.escalation.request(FIRST)

    assert session.interrupter.requests.by_cell == {}
    assert (session.sent, session.escalation.next_deadline()) == ([], None)


def test_a_request_that_crosses_with_the_end_of_its_cell_is_removed(session):
    session.run(FIRST)
    session.escalation.request(FIRST)
    session.end(FIRST)
    session.sent.clear()
    for _ in range(200):
        session.wait(0.05)

    assert session.interrupter.requests.by_cell == {}
    assert (session.sent, session.escalation.next_deadline()) == ([], None)


def test_a_request_for_a_queued_cell_signals_nothing_while_another_cell_runs(session):
    session.run(FIRST)
    session.escalation.request(SECOND)
    for _ in range(200):
        session.wait(0.05)

    assert session.sent == []
    session.end(FIRST)
    with pytest.raises(KeyboardInterrupt):
        session.run(SECOND)
    assert session.interrupter.reason(SECOND) is Reason.INTERRUPT


def test_a_cell_that_can_not_start_gets_the_second_step_after_the_grace(session):
    session.run(FIRST)
    session.escalation.request(SECOND)
    session.end(FIRST)
    session.wait(0.0)
    session.wait(session.escalation.grace_seconds)

    assert session.sent == [HARD_SIGNAL]
    assert session.interrupter.requests.insisted_on == SECOND


def test_a_cell_that_is_not_next_gets_no_second_step(session):
    session.run(FIRST)
    session.escalation.request(THIRD)
    session.end(FIRST)
    session.wait(0.0)
    session.wait(10.0)

    assert session.sent == []


def test_each_cell_has_its_own_grace_period(session):
    session.run(FIRST)
    session.escalation.request(FIRST)
    session.escalation.request(SECOND)
    session.wait(session.escalation.grace_seconds)
    assert session.interrupter.requests.insisted_on == FIRST
    session.end(FIRST)
    session.wait(0.0)

    assert session.interrupter.requests.insisted_on is None
    assert session.escalation.next_deadline() == session.now + session.escalation.grace_seconds


def test_an_undelivered_signal_is_sent_again_until_it_is_delivered(session):
    session.run(FIRST)
    session.escalation.request(FIRST)
    session.wait(0.05)
    session.wait(0.05)
    with pytest.raises(KeyboardInterrupt):
        session.interrupter._on_hard_signal(HARD_SIGNAL, None)
    session.wait(0.05)

    assert session.sent == [signal.SIGINT, HARD_SIGNAL, HARD_SIGNAL]


def test_an_interrupt_that_a_finalizer_swallows_is_not_delivered(session):
    class Finalized:
        def __del__(self):
            session.sigint()

    session.run(FIRST)
    session.escalation.request(FIRST)
    hook = session.interrupter._on_unraisable
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.unraisablehook", hook)
        Finalized()
    session.wait(0.05)

    assert session.sent == [signal.SIGINT, HARD_SIGNAL]


def test_a_cell_times_out_once(session, monkeypatch):
    monkeypatch.setattr("skep_workers.session.interrupt.interrupts.monotonic", lambda: session.now)
    session.run(FIRST, timeout_seconds=1.0)
    assert session.escalation.next_deadline() == session.now + 1.0
    session.wait(1.0)
    session.wait(0.01)

    assert session.sent == [signal.SIGINT]
    assert session.interrupter.reason(FIRST) is Reason.TIMEOUT


def test_a_condition_is_not_cut_short(session):
    condition = threading.Condition(threading.Lock())
    entered = []

    class Lock:
        def acquire(self):
            session.interrupter._on_signal(signal.SIGINT, sys._getframe(1))
            entered.append("not yet")

    session.run(FIRST)
    session.escalation.request(FIRST)
    condition._lock = Lock()
    condition._acquire_restore(None)
    session.wait(0.05)

    assert entered == ["not yet"]
    assert session.sent == [signal.SIGINT, HARD_SIGNAL]


def test_a_sigint_without_a_mark_is_the_cells_own(session):
    session.run(FIRST)
    session.sigint()  # no code of a cell is on the stack here: the exception waits for the end
    with pytest.raises(KeyboardInterrupt):
        session.interrupter.check()
    session.interrupter.check()


def test_a_late_marked_sigint_is_not_the_next_cells_own(session):
    session.run(FIRST)
    session.escalation.request(FIRST)
    session.end(FIRST)
    session.run(SECOND)
    session.sigint()

    assert session.sent == [signal.SIGINT]
    assert not session.interrupter.has_own_pending
    session.interrupter.check()


def test_the_mark_of_a_sigint_that_never_arrives_expires(session):
    session.run(FIRST)
    session.escalation.request(FIRST)
    session.end(FIRST)
    session.run(SECOND)
    session.wait(MARK_SECONDS + 0.1)
    session.sigint()

    assert session.interrupter.has_own_pending


def test_an_own_sigint_that_can_not_be_raised_yet_is_signalled_again_until_the_cell_ends(session):
    session.run(FIRST)
    session.sigint()
    for _ in range(3):
        session.wait(UNHEARD_REPEAT_SECONDS)
    session.end(FIRST)
    session.wait(UNHEARD_REPEAT_SECONDS)

    assert session.sent == [INTERRUPT_SIGNAL] * 2
    assert session.escalation.next_deadline() is None


def test_an_own_sigint_between_cells_is_dropped(session):
    session.run(FIRST)
    session.end(FIRST)
    session.sigint()
    session.run(SECOND)

    session.interrupter.check()
    assert not session.interrupter.has_own_pending
