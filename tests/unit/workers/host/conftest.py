"""The cells of one session without a host, and time that a test moves."""

import asyncio

import pytest

from skep_shared.broker.keys import Keys
from skep_shared.broker.script_replies import Claim
from skep_shared.models import SessionOptions
from skep_shared.settings import WorkerSettings
from skep_workers.host.broker.redis_clock import RedisClock
from skep_workers.host.residency.cells.cell_context import CellContext
from skep_workers.host.residency.cells.intake import CellIntake
from skep_workers.host.residency.cells.reporter import Reporter
from skep_workers.host.residency.cells.runs import CellRuns
from skep_workers.host.residency.journal import Journal
from skep_workers.host.residency.lifecycle import Lifecycle


class Ignoring:
    """A journal listener that ignores everything."""

    def journal_progressed(self):
        pass

    def checkpoint_committed(self, checkpoint, manifest, stored_bytes):
        pass


class Clock:
    """The loop's timers, with a clock that the test moves."""

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
        """Move the clock, and run the timers that are due."""
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
def ignoring():
    """A journal listener that ignores everything."""
    return Ignoring()


@pytest.fixture
def make_runs(ignoring):
    """A function that makes the cells of a session which has submitted cells up to a seq."""

    def make(last_seq, scripts=None):
        claim = Claim("s", "token", 1, 0, last_seq, 0, 0, "", False, b"", 0)
        settings, clock, keys = WorkerSettings.load(prefix="t"), RedisClock(), Keys("t")
        intake = CellIntake(None, keys, "s", after=0, on_cells=lambda: None)
        journal = Journal(scripts, claim, settings, ignoring)
        reporter = Reporter(journal, clock, claim.epoch)
        lifecycle = Lifecycle(claim)
        context = CellContext(claim, SessionOptions(), settings, clock, lifecycle, intake, journal, reporter)
        return CellRuns(context), intake, journal

    return make
