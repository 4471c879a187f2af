"""A cell that comes when a process is ending is not given to it: it would count as what has ended the process."""

from types import SimpleNamespace

import pytest

from skep_shared.keys import Keys
from skep_shared.models import CellSpec
from skep_shared.script_replies import Claim
from skep_shared.settings import WorkerSettings
from skep_workers.host.clock import RedisClock
from skep_workers.host.intake import CellIntake
from skep_workers.host.journal import Journal
from skep_workers.host.reporter import Reporter
from skep_workers.host.runs import CellRuns

pytestmark = pytest.mark.anyio


async def test_a_process_whose_end_has_begun_is_given_no_cell():
    given = []
    claim = Claim("s", "token", 1, 0, 1, 0, 0, "", False, b"", 0)
    settings, clock, keys = WorkerSettings.load(prefix="t"), RedisClock(), Keys("t")
    intake = CellIntake(None, keys, "s", after=0, on_cells=lambda: None)
    journal = Journal(None, claim, settings, lambda: None, lambda *_: None)
    parts = (journal, Reporter(journal, clock, claim.epoch))
    runs = CellRuns(claim, settings, clock, intake, parts, lambda: None, lambda *_: None)
    process = SimpleNamespace(execute=given.append, is_ending=False)
    runs.attach(process)

    process.is_ending = True
    intake.offer(1, "cell-1", CellSpec(code="1").pack(), 0.0)
    runs.pump()
    assert (given, [cell.seq for cell in intake.waiting]) == ([], [1])

    process.is_ending = False
    runs.pump()
    assert ([frame.seq for [frame] in given], list(intake.waiting)) == ([1], [])
