"""What is recorded of a finished cell: a line in the log, with the cell's id, and the worker's counters."""

import asyncio

import pytest
from structlog.testing import capture_logs

from skep_shared.models import CellSpec
from skep_shared.protocol.frames import Done
from skep_workers.host.residency.accounting import Accounting
from skep_workers.host.residency.cells.intake import QueuedCell

CELL = QueuedCell(7, "job-7", CellSpec(code="1"), 0.0)


def accounted(mode="blocking_sync", **detected):
    accounting = Accounting()

    async def end_a_cell():
        accounting.add("s", CELL, Done(7, 1, "finished", 1500, mode, detected))
        accounting.log()

    with capture_logs() as lines:
        asyncio.run(end_a_cell())
    return lines, accounting.counters


def test_detected_calls_are_logged_with_the_cell_and_counted():
    lines, counters = accounted(blocking_import=2, blocking_call=1, missed_chain=3)

    assert lines == [
        {
            "event": "cell.finished", "log_level": "info", "session_id": "s", "cell_id": "job-7", "seq": 7,
            "status": "finished", "mode": "blocking_sync", "run_ms": 1.5,
            "blocking_import": 2, "blocking_call": 1, "missed_chain": 3,
        }
    ]  # fmt: skip
    assert counters == {
        "detected.blocking_import": 2,
        "detected.blocking_call": 1,
        "detected.missed_chain": 3,
        "cells.finished": 1,
        "mode.blocking_sync": 1,
    }


@pytest.mark.parametrize("count", [0, -1, "many", True, 1.5])
def test_a_count_that_is_no_positive_integer_is_dropped(count):
    lines, counters = accounted(blocking_call=count, made_up=3)

    assert "blocking_call" not in lines[0]
    assert "made_up" not in lines[0]
    assert counters == {"cells.finished": 1, "mode.blocking_sync": 1}


def test_an_unknown_mode_is_counted_as_unknown():
    lines, counters = accounted(mode="made up")

    assert lines[0]["mode"] == "unknown"
    assert counters["mode.unknown"] == 1


@pytest.mark.anyio
async def test_the_line_is_logged_after_the_work_that_the_loop_has_now():
    accounting, logged = Accounting(), asyncio.Event()
    write = accounting.log
    accounting.log = lambda: (write(), logged.set())
    with capture_logs() as lines:
        accounting.add("s", CELL, Done(7, 1, "finished", 1500, "simple_sync", {}))
        accounting.add("s", CELL, Done(8, 1, "failed", 1500, "simple_sync", {}))
        await asyncio.sleep(0)
        assert lines == []
        async with asyncio.timeout(10):
            await logged.wait()
    assert [line["status"] for line in lines] == ["finished", "failed"]
