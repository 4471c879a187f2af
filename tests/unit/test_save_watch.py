"""A cell that waits for its checkpoint waits no longer than it may."""

import asyncio

import pytest

from skep_workers.host.save_watch import INTERRUPTED, MARGIN_SECONDS, TIMED_OUT, TRIES, SaveWatch

pytestmark = pytest.mark.anyio

SNAPSHOT_SECONDS = 10.0
INTERRUPT_SECONDS = 2.0


class Clock:
    """The loop's timers, and a time that the test moves."""

    def __init__(self, loop, monkeypatch):
        self.now = 0.0
        self._timers = []
        monkeypatch.setattr(loop, "time", lambda: self.now)
        monkeypatch.setattr(loop, "call_later", self._call_later)

    def _call_later(self, seconds, call, *args):
        timer = asyncio.TimerHandle(self.now + seconds, call, args, asyncio.get_running_loop())
        self._timers.append(timer)
        return timer

    def move(self, seconds):
        """Let so much time pass."""
        self.now += seconds
        due = [timer for timer in self._timers if timer.when() <= self.now]
        self._timers = [timer for timer in self._timers if timer not in due]
        for timer in due:
            if not timer.cancelled():
                timer._run()


@pytest.fixture
async def clock(monkeypatch):
    """Time that the test moves."""
    return Clock(asyncio.get_running_loop(), monkeypatch)


@pytest.fixture
def said():
    """What the watch has said, in order."""
    return []


@pytest.fixture
def watch(said):
    """A watch that nobody has told anything yet."""
    return SaveWatch(
        SNAPSHOT_SECONDS,
        INTERRUPT_SECONDS,
        lambda reason: said.append(("due", reason)),
        lambda reason: said.append(("stuck", reason)),
    )


async def test_a_process_that_says_nothing_is_stuck_in_the_end(clock, watch, said):
    watch.expect(None)
    clock.move(TRIES * SNAPSHOT_SECONDS + MARGIN_SECONDS - 0.1)
    assert said == []
    clock.move(0.2)

    assert [kind for kind, _ in said] == ["stuck"]


async def test_one_that_goes_on_saying_something_is_not(clock, watch, said):
    watch.expect(None)
    for _ in range(10):
        clock.move(TRIES * SNAPSHOT_SECONDS)
        watch.progress()

    assert said == []


async def test_an_interrupt_ends_the_wait_after_the_grace_and_further_ones_put_it_off_by_nothing(clock, watch, said):
    watch.expect(None)
    watch.interrupt()
    clock.move(INTERRUPT_SECONDS / 2)
    watch.interrupt()
    clock.move(INTERRUPT_SECONDS / 2)

    assert said == [("due", INTERRUPTED)]


async def test_a_cell_with_a_timeout_waits_for_one_snapshot(clock, watch, said):
    watch.expect(1.0)
    clock.move(SNAPSHOT_SECONDS)

    assert said == [("due", TIMED_OUT)]


async def test_where_nothing_is_waited_for_nothing_ends(clock, watch, said):
    watch.interrupt()
    watch.progress()
    watch.expect(1.0)
    watch.interrupt()
    watch.stop()
    clock.move(10 * TRIES * SNAPSHOT_SECONDS)

    assert said == []
