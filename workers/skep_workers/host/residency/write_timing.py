"""When the journal writes: events after some milliseconds, the ends of short cells together."""

import asyncio
from typing import Final

GROUP_SECONDS: Final = 0.002


class WriteTiming:
    """What is due to be written, and the wake-up of the task that writes it."""

    def __init__(self, flush_seconds: float) -> None:
        self._flush_seconds = flush_seconds
        self._flush_timer: asyncio.TimerHandle | None = None
        self._group_timer: asyncio.TimerHandle | None = None
        self.work = asyncio.Event()  # there may be something to write
        self.is_flush_due = False
        self.is_commit_due = False

    def notify(self) -> None:
        """Wake the task that writes."""
        self.work.set()

    def flush_soon(self) -> None:
        """Make everything that was added due in some milliseconds, for more events to be written with it."""
        if self._flush_timer is None:
            self._flush_timer = asyncio.get_running_loop().call_later(self._flush_seconds, self.flush)

    def flush(self) -> None:
        """Make everything that was added due."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        self.is_flush_due = True
        self.commit()

    def commit_soon(self) -> None:
        """Make the cells that have ended due in a moment, for the next one to be committed with them."""
        if self._group_timer is None:
            self._group_timer = asyncio.get_running_loop().call_later(GROUP_SECONDS, self.commit)

    def commit(self) -> None:
        """Make the cells that have ended due."""
        if self._group_timer is not None:
            self._group_timer.cancel()
            self._group_timer = None
        self.is_commit_due = True
        self.work.set()

    def record_commit(self, *, has_more: bool) -> None:
        """Record that cells are being committed."""
        self.is_commit_due = has_more

    def record_flush(self) -> None:
        """Record that everything that was due is written."""
        self.is_flush_due = False

    def stop(self) -> None:
        """Stop the timers."""
        for timer in (self._flush_timer, self._group_timer):
            if timer is not None:
                timer.cancel()
