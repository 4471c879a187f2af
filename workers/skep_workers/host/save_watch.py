"""The deadline of checkpoints: a cell whose code has ended does not wait for ever for its state to be saved.

The process bounds what it does itself, see the session's `patience`. This is for a process that is stuck, and for who
doesn't want to wait: when it is due, the cells that wait commit without a checkpoint.

- After a cell ended, or a part of its snapshot came, the process has `silence_seconds` to say more; then it is stuck.
- A cell with a timeout waits one `snapshot_seconds` at most.
- A cell that is interrupted now waits two grace periods more, as it would if its code ran.
"""

import asyncio
from collections.abc import Callable
from typing import Final

TRIES: Final = 4  # what a process may take to try again and again is less, in times of snapshot_seconds
MARGIN_SECONDS: Final = 30.0
INTERRUPTED: Final = "the cell was interrupted while its state was being saved"
TIMED_OUT: Final = "its state was still being saved when the cell's timeout, and the time for a checkpoint, were over"


class SaveWatch:
    """Counts down while cells wait for a checkpoint."""

    def __init__(
        self,
        snapshot_seconds: float,
        interrupt_seconds: float,
        on_due: Callable[[str], None],
        on_stuck: Callable[[str], None],
    ) -> None:
        """`on_due` is told why the cells wait no longer; `on_stuck` that the process will say nothing more either."""
        self._snapshot_seconds = snapshot_seconds
        self._silence_seconds = TRIES * snapshot_seconds + MARGIN_SECONDS
        self._interrupt_seconds = interrupt_seconds
        self._on_due, self._on_stuck = on_due, on_stuck
        self._silence: asyncio.TimerHandle | None = None
        self._limit: asyncio.TimerHandle | None = None

    def expect(self, timeout: float | None) -> None:
        """A cell with this timeout has ended; its checkpoint is to come."""
        if self._silence is None:
            self.progress(begins=True)
        if timeout is not None:
            self._limit_to(self._snapshot_seconds, TIMED_OUT)

    def progress(self, *, begins: bool = False) -> None:
        """A part of a snapshot has come."""
        if self._silence is not None or begins:
            if self._silence is not None:
                self._silence.cancel()
            loop = asyncio.get_running_loop()
            self._silence = loop.call_later(self._silence_seconds, self._end_silence)

    def interrupt(self) -> None:
        """A cell that waits is to end."""
        if self._silence is not None:
            self._limit_to(self._interrupt_seconds, INTERRUPTED)

    def stop(self) -> None:
        """No cell waits any more."""
        for timer in (self._silence, self._limit):
            if timer is not None:
                timer.cancel()
        self._silence = self._limit = None

    def _limit_to(self, seconds: float, reason: str) -> None:
        loop = asyncio.get_running_loop()
        if self._limit is not None:
            if self._limit.when() <= loop.time() + seconds:
                return
            self._limit.cancel()
        self._limit = loop.call_later(seconds, self._on_due, reason)

    def _end_silence(self) -> None:
        self._silence = None
        self._on_stuck(f"the session process said nothing of it for {self._silence_seconds:g} s")
