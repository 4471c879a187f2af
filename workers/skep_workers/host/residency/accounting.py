"""Records each finished cell: as one line in the log, and in the worker's counters."""

import asyncio
from collections import Counter
from typing import Any, Final

import structlog

from skep_shared.logs import log_each
from skep_shared.protocol.frames import Done
from skep_workers.host.residency.cells.intake import QueuedCell

log = structlog.get_logger()

LOG_SECONDS: Final = 0.005
MODES: Final = frozenset({"top_level_await", "async_def", "blocking_sync", "simple_sync", "unknown"})
DETECTED: Final = ("blocking_import", "blocking_call", "missed_chain")


class Accounting:
    """Counts the cells of a worker, and logs each.

    The lines are written a moment later, so that the time they take does not delay the commit of the cell.
    """

    def __init__(self) -> None:
        self.counters: Final[Counter[str]] = Counter()
        self._unlogged: list[dict[str, Any]] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, session_id: str, cell: QueuedCell, done: Done) -> None:
        """Count a cell that has ended.

        The process may report anything, so only known names are recorded: it must not fill the log and the counters.
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
        """Log the cells that have not been logged yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        unlogged, self._unlogged = self._unlogged, []
        log_each(log, "cell.finished", unlogged)
