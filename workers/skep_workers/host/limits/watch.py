"""Ends a session's process when the session uses more than its limits allow.

Memory and processes are limited by the kernel if the process has a control group. Then only the counters are read of
what the kernel has refused or killed: with each look at the session, and when a cell fails or was not short, so that
the cell's outcome names the limit.

Everything else is measured again and again (see session_meter.py): often while a cell runs, more often when a limit is
near, and rarely while no cell runs or while cells do next to nothing. Between two measurements a session can use more
than its limit; what it can take in that time is what it can overshoot.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from skep_shared.isolation.session_limits import Excess, Limits
from skep_shared.protocol.frames import Display, Done, Failure, Output, Result
from skep_shared.states import CellStatus
from skep_workers.host.limits.session_meter import NEAR_SHARE, SessionMeter
from skep_workers.host.process.listener import CellOutput

WATCHED: Final = ("memory_bytes", "cpu_seconds", "processes", "workspace_bytes", "workspace_files", "output_bytes")
RUNNING_SECONDS: Final = 0.05  # between looks while a cell runs
NEAR_SECONDS: Final = 0.01  # when more than NEAR_SHARE of a limit is used
IDLE_SECONDS: Final = 1.0
SHORT_US: Final = 1000


class WatchedProcess(Protocol):
    """The session process, as far as it concerns its limits."""

    pid: int

    @property
    def is_ending(self) -> bool:
        """Return whether its end has begun or was requested."""

    @property
    def enforced_limits(self) -> frozenset[str]:
        """The names of the limits that the kernel enforces."""

    def enforced_excess(self) -> Excess | None:
        """Return the limit that the kernel has enforced, if any."""

    def end_for(self, excess: Excess) -> None:
        """Kill it; its end is reported with this reason."""


def needs_watch(limits: Limits) -> bool:
    """Return whether any of the limits is one that a LimitWatch enforces."""
    return any(getattr(limits, name) is not None for name in WATCHED)


class LimitWatch:
    """Watches the processes of one session."""

    def __init__(
        self,
        limits: Limits,
        directory: Path,
        current: Callable[[], tuple[WatchedProcess | None, bool]],
    ) -> None:
        """`current` returns the session's process, and whether a cell runs in it."""
        self._limits = limits
        self._current = current
        self._meter = SessionMeter(limits, directory)
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._rests = False  # the next look is not soon
        self._is_new_cell = False  # since the latest look
        self._output_bytes = 0
        self.measures: Final = self._meter.has_limits

    async def run(self) -> None:
        """Look at the session until cancelled."""
        self._look_after(IDLE_SECONDS)
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                self._look_after(await self._measure())
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._meter.close()

    def cell_started(self) -> None:
        """Count the processor time and the output of a new cell, and look at it soon."""
        self._output_bytes = 0
        self._is_new_cell = True
        if self._rests and self._timer is not None:
            self._timer.cancel()
            self._look_after(RUNNING_SECONDS)

    def admits_done(self, done: Done) -> bool:
        """Return False if a cell's own end is not to be reported, since the kernel has enforced a limit.

        The process is ended for that then. The counters are not read after a short cell that has succeeded: a look
        soon compares them, and reading them would be a part of the time that such a cell takes.
        """
        if done.status == CellStatus.FINISHED and done.run_us < SHORT_US:
            return True
        return self._admits_end()

    def _admits_end(self) -> bool:
        process, _ = self._current()
        if process is None or process.is_ending or (excess := process.enforced_excess()) is None:
            return True
        process.end_for(excess)
        return False

    def admits_output(self, frame: CellOutput) -> bool:
        """Count what a cell has written; return False if it is not to be reported, and end the process."""
        if isinstance(frame, Failure):  # its exception may only be the consequence of a limit
            return self._admits_end()
        limit = self._limits.output_bytes
        if limit is None:
            return True
        self._output_bytes += _size_of(frame)
        if self._output_bytes <= limit:
            return True
        process, _ = self._current()
        if process is not None and not process.is_ending:
            process.end_for(Excess("output_bytes", self._output_bytes, limit))
        return False

    def _look_after(self, seconds: float) -> None:
        self._rests = seconds > RUNNING_SECONDS
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Compare the kernel's counters; have everything else measured. Do neither if the session does too little."""
        self._timer = None
        process, runs_cell = self._current()
        if process is None or process.is_ending:
            self._look_after(IDLE_SECONDS)
            return
        if self._is_new_cell and runs_cell:
            self._is_new_cell = False
            self._meter.begin_cell(process.pid)
        if not self._meter.is_quiet(process.pid):
            if not self._admits_end():
                self._look_after(IDLE_SECONDS)
                return
            if self._meter.measures_more_than(process.enforced_limits):
                self._due.set()
                return
            self._meter.record_look(process.pid)
        self._look_after(RUNNING_SECONDS if runs_cell else IDLE_SECONDS)

    async def _measure(self) -> float:
        """Measure the process, and end it if it exceeds a limit; return how many seconds later to look again."""
        process, runs_cell = self._current()
        if process is None or process.is_ending:
            return IDLE_SECONDS
        excess, share = await self._meter.measure(process.pid, process.enforced_limits)
        if excess is not None and process is self._current()[0] and not process.is_ending:
            process.end_for(excess)
        wanted = RUNNING_SECONDS if share < NEAR_SHARE else NEAR_SECONDS
        return max(wanted if runs_cell else IDLE_SECONDS, self._meter.pause_seconds)


def _size_of(frame: CellOutput) -> int:
    if isinstance(frame, Output):
        return len(frame.text)
    if isinstance(frame, Display | Result):
        parts = [*frame.bundle.values(), *([frame.data or b""] if isinstance(frame, Result) else [])]
        return sum(len(part) if isinstance(part, str | bytes) else len(repr(part)) for part in parts)
    return 0
