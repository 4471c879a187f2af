"""What is kept of a finished cell: one line in the log, and the worker's counters."""

import asyncio
from collections import Counter
from typing import Any, Final

import structlog

from skep_shared.frames import Done
from skep_shared.logs import log_each
from skep_workers.host.intake import QueuedCell

log = structlog.get_logger()

LOG_SECONDS: Final = 0.005
MODES: Final = frozenset({"top_level_await", "async_def", "blocking_sync", "simple_sync", "unknown"})
DETECTED: Final = ("blocking_import", "blocking_call", "missed_chain")


class Accounting:
    """Counts the cells of a worker, and logs each.

    The lines are written a moment later: the time that they take must not come between a cell and its commit.
    """

    def __init__(self) -> None:
        self.counters: Final[Counter[str]] = Counter()
        self._unlogged: list[dict[str, Any]] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, session_id: str, cell: QueuedCell, done: Done) -> None:
        """Take a cell that has ended.

        What the process says is a claim: only names that are known are taken, so that it can't fill log and counters.
        """
        mode = done.mode if done.mode in MODES else "unknown"
        counters = self.counters
        counters[f"cells.{done.status}"] += 1
        counters[f"mode.{mode}"] += 1
        line = {
            "session_id": session_id,
            "cell_id": cell.cell_id,
            "seq": cell.seq,
            "status": done.status,
            "mode": mode,
            "run_ms": done.run_us / 1000,
        }
        if done.detected:
            for name in DETECTED:
                count = done.detected.get(name)
                if type(count) is int and count > 0:
                    line[name] = count
                    counters[f"detected.{name}"] += count
        self._unlogged.append(line)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOG_SECONDS, self.log)

    def log(self) -> None:
        """Log what has not been logged yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        unlogged, self._unlogged = self._unlogged, []
        log_each(log, "cell.finished", unlogged)
