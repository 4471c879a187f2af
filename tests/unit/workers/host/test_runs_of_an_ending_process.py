"""Cells around the end of a process: which of them it gets, and what the next process gets of the others."""

from types import SimpleNamespace

import pytest

from skep_shared.broker.mailbox_entries import SubmittedCell
from skep_shared.models import CellSpec
from skep_shared.protocol.frames import Interrupt
from skep_workers.host.process.listener import ProcessEnd

pytestmark = pytest.mark.anyio


async def test_a_process_whose_end_has_begun_is_sent_no_cell(make_runs):
    sent = []
    runs, intake, _ = make_runs(1)
    process = SimpleNamespace(execute=sent.append, is_ending=False)
    runs.attach(process)

    process.is_ending = True
    intake.offer(SubmittedCell("s", 1, "cell-1", CellSpec(code="1").pack(), 0.0))
    runs.send_cells()
    assert (sent, [cell.seq for cell in intake.waiting]) == ([], [1])

    process.is_ending = False
    runs.send_cells()
    assert ([frame.seq for [frame] in sent], list(intake.waiting)) == ([1], [])


async def test_the_next_process_gets_the_interrupt_of_a_cell_that_its_predecessor_had_not_started(make_runs):
    """Without it, the cell would run until its whole process is killed."""
    runs, intake, _ = make_runs(2)
    controls = []
    first = SimpleNamespace(execute=lambda _: None, control=lambda _: None, is_ending=False)
    runs.attach(first)
    for seq in (1, 2):
        intake.offer(SubmittedCell("s", seq, f"cell-{seq}", CellSpec(code="1").pack(), 0.0))
    runs.send_cells()
    runs.interrupts.interrupt(2)
    runs.process_ended(ProcessEnd("killed"), may_head_run_again=False)

    runs.attach(SimpleNamespace(execute=lambda _: None, control=controls.append, is_ending=False))
    runs.send_cells()
    assert [(frame.seq, type(frame)) for frame in controls] == [(2, Interrupt)]


async def test_the_next_process_gets_a_cell_whose_start_is_recorded_already(make_runs):
    """No further write would tell that it is: the announcement that it waits for was for the process before."""
    runs, intake, journal = make_runs(1)
    sent = []
    spec = CellSpec(code="1", on_worker_loss="fail")
    runs.attach(SimpleNamespace(execute=sent.append, is_ending=False))
    intake.offer(SubmittedCell("s", 1, "cell-1", spec.pack(), 0.0))
    runs.send_cells()
    assert sent == []
    journal.last_written = journal.last_event
    runs.journal_progressed()
    assert [frame.seq for [frame] in sent] == [1]

    runs.window.head.was_not_begun = True
    runs.process_ended(ProcessEnd("killed"), may_head_run_again=False)
    runs.attach(SimpleNamespace(execute=sent.append, is_ending=False))
    runs.send_cells()

    assert [frame.seq for [frame] in sent] == [1, 1]


async def test_a_cell_that_began_while_its_stuck_process_was_killed_does_not_run_again(make_runs):
    runs, intake, _ = make_runs(1)
    runs.attach(SimpleNamespace(execute=lambda _: None, is_ending=False))
    intake.offer(SubmittedCell("s", 1, "cell-1", CellSpec(code="1").pack(), 0.0))
    runs.send_cells()
    runs.window.head.was_not_begun = True
    runs.process_ended(ProcessEnd("killed", begun=1), may_head_run_again=False)

    assert (list(intake.waiting), runs.is_settled) == ([], True)
