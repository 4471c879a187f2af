"""The deadline of checkpoints: a cell whose code has ended does not wait forever for its state to be saved.

The process limits its own saving, see the session's saving/time_budget.py. This deadline is for a process that is
stuck, and for users who don't want to wait. When it expires, the waiting cells commit without a checkpoint.

- After the end of a cell, or after a part of its snapshot, the process has `silence_seconds` to send more. Otherwise it
  is considered stuck.
- A cell with a timeout, and one whose code was interrupted, waits at most one `snapshot_seconds`.
- A cell that is interrupted while it waits, waits for two more grace periods, as it would if its code were running.
"""

import asyncio
from collections.abc import Callable
from typing import Final

TRIES: Final = 4  # in units of snapshot_seconds; all tries of a process together take less
MARGIN_SECONDS: Final = 30.0
INTERRUPTED: Final = "the cell was interrupted while its state was being saved"
SAVED_TOO_LATE: Final = (
    "the cell was to end, but its state was still being saved when the time for a checkpoint was over"
)


class SaveWatch:
    """Runs while cells wait for a checkpoint."""

    def __init__(
        self,
        snapshot_seconds: float,
        interrupt_seconds: float,
        on_due: Callable[[str], None],
        on_stuck: Callable[[str], None],
    ) -> None:
        """Both are called with the reason why the cells wait no longer; `on_stuck` if the process is stuck."""
        self._snapshot_seconds = snapshot_seconds
        self.silence_seconds: Final = TRIES * snapshot_seconds + MARGIN_SECONDS
        self._interrupt_seconds = interrupt_seconds
        self._on_due, self._on_stuck = on_due, on_stuck
        # One timer for each session, not for each cell: when it fires, it checks how long the process has been silent.
        self._silence: asyncio.TimerHandle | None = None
        self._last_sign_at: float | None = None  # by the loop's clock; None while no cell waits
        self._limit: asyncio.TimerHandle | None = None

    def expect(self, *, is_limited: bool) -> None:
        """Record that a cell has ended and waits for its checkpoint. is_limited: for one `snapshot_seconds` at most."""
        if self._last_sign_at is None:
            loop = asyncio.get_running_loop()
            self._last_sign_at = loop.time()
            if self._silence is None:
                self._silence = loop.call_later(self.silence_seconds, self._check_silence)
        if is_limited:
            self._limit_to(self._snapshot_seconds, SAVED_TOO_LATE)

    def progress(self) -> None:
        """Record that a part of a snapshot has arrived."""
        if self._last_sign_at is not None:
            self._last_sign_at = asyncio.get_running_loop().time()

    def interrupt(self) -> None:
        """Shorten the deadline: a waiting cell was interrupted."""
        if self._last_sign_at is not None:
            self._limit_to(self._interrupt_seconds, INTERRUPTED)

    def stop(self) -> None:
        """Stop the deadline: no cell waits any more."""
        self._last_sign_at = None
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def close(self) -> None:
        """Stop for good, and cancel the timer."""
        self.stop()
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _limit_to(self, seconds: float, reason: str) -> None:
        loop = asyncio.get_running_loop()
        if self._limit is not None:
            if self._limit.when() <= loop.time() + seconds:
                return
            self._limit.cancel()
        self._limit = loop.call_later(seconds, self._on_due, reason)

    def _check_silence(self) -> None:
        self._silence = None
        if self._last_sign_at is None:
            return  # the next waiting cell starts it again
        loop = asyncio.get_running_loop()
        left = self._last_sign_at + self.silence_seconds - loop.time()
        if left > 0:
            self._silence = loop.call_later(left, self._check_silence)
            return
        self._last_sign_at = None
        self._on_stuck(f"the session process said nothing of it for {self.silence_seconds:g} s")
