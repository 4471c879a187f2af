"""What is kept of a finished cell: one line in the log, and the worker's counters."""

from collections import Counter
from typing import Any, Final

import structlog

from skep_shared.frames import Done
from skep_workers.host.intake import QueuedCell

log = structlog.get_logger()

MODES: Final = frozenset({"top_level_await", "async_def", "blocking_sync", "simple_sync", "unknown"})
DETECTED: Final = ("blocking_import", "blocking_call", "missed_chain")


def account_for(session_id: str, cell: QueuedCell, done: Done, counters: Counter[str]) -> None:
    """Log the cell and count it.

    What the process says is a claim: only names that are known are taken, so that it can't fill log and counters.
    """
    mode = done.mode if done.mode in MODES else "unknown"
    detected: dict[str, Any] = {}
    for name in DETECTED:
        count = done.detected.get(name)
        if type(count) is int and count > 0:
            detected[name] = count
            counters[f"detected.{name}"] += count
    counters[f"cells.{done.status}"] += 1
    counters[f"mode.{mode}"] += 1
    log.info(
        "cell.finished",
        session_id=session_id,
        cell_id=cell.cell_id,
        seq=cell.seq,
        status=done.status,
        mode=mode,
        run_ms=done.run_us / 1000,
        **detected,
    )
