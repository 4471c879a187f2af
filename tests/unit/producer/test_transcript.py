"""Folding events: what a cell has cleared is gone, and what later cells update is as they left it."""

from datetime import UTC, datetime

import pytest

from skep.outcome import fold_outcome
from skep.transcript import SessionFold
from skep_shared.events import (
    CellFinished,
    CellRetried,
    DisplayEvent,
    ErrorEvent,
    OutputCleared,
    OutputEvent,
    ResultEvent,
    WarningEvent,
)
from skep_shared.states import CellStatus


def numbered(*events):
    """Return the events, each (cell, class, fields), with dense ids."""
    return [
        kind(id=f"{number}-0", session_id="s", cell_id=cell, seq=1, attempt=1, epoch=1, at=datetime.now(UTC), **fields)
        for number, (cell, kind, fields) in enumerate(events, 1)
    ]


def text(cell, said):
    return cell, OutputEvent, {"stream": "stdout", "text": said}


def display(cell, shown, display_id=None, *, updates=False):
    return cell, DisplayEvent, {"bundle": {"text/plain": shown}, "display_id": display_id, "updates": updates}


def cleared(cell, *, waits):
    return cell, OutputCleared, {"waits": waits}


def finished(cell):
    times = {"queued_ms": 0.0, "run_ms": 0.0, "commit_ms": 0.0}
    return cell, CellFinished, {"status": CellStatus.FINISHED, "checkpoint": None, **times}


RESULT = ("a", ResultEvent, {"bundle": {"text/plain": "5"}})
ERROR = ("a", ErrorEvent, {"ename": "E", "evalue": "", "traceback": ""})
WARNING = ("a", WarningEvent, {"category": "c", "message": "m"})


def outcome(*events):
    return fold_outcome("s", "a", numbered(*events, finished("a")))


def test_cleared_output_is_dropped():
    found = outcome(text("a", "1"), display("a", "x"), WARNING, cleared("a", waits=False), text("a", "2"))

    assert (found.text, found.display, found.warnings) == ("2", (), ("m",))


@pytest.mark.parametrize("more", [text("a", "2"), display("a", "y"), RESULT, ERROR])
def test_a_waiting_clear_is_applied_at_the_next_output(more):
    found = outcome(text("a", "1"), cleared("a", waits=True), more)

    assert "1" not in found.text


@pytest.mark.parametrize("more", [(), (display("a", "x2", "d", updates=True),), (WARNING,)])
def test_a_waiting_clear_without_further_output_is_not_applied(more):
    found = outcome(text("a", "1"), display("a", "x", "d"), cleared("a", waits=True), *more)

    assert (found.text, len(found.display)) == ("1", 1)


def test_an_immediate_clear_replaces_a_waiting_one():
    found = outcome(text("a", "1"), cleared("a", waits=True), cleared("a", waits=False), text("a", "2"), text("a", "3"))

    assert found.text == "23"


def folded(*events):
    fold = SessionFold("s")
    for event in numbered(*events):
        fold.add(event)
    return {cell.cell_id: cell.outcome() for cell in fold.cells()}


def shown(found):
    return [bundle["text/plain"] for bundle in found.display]


def test_an_update_reaches_the_cell_that_showed_it():
    found = folded(
        display("a", "first", "d"), display("a", "other"), finished("a"),
        display("b", "second", "d", updates=True), display("b", "third", "d", updates=True), finished("b"),
    )  # fmt: skip

    assert (shown(found["a"]), shown(found["b"])) == (["third", "other"], [])


def test_an_update_reaches_every_place_that_was_there():
    found = folded(
        display("a", "1", "d"), finished("a"),
        display("b", "2", "d"), display("b", "3", "d", updates=True), finished("b"),
        display("c", "4", "d"), finished("c"),
    )  # fmt: skip

    assert [shown(found[cell]) for cell in "abc"] == [["3"], ["3"], ["4"]]


def test_an_update_of_a_voided_attempt_counts_no_more():
    found = folded(
        display("a", "first", "d"), finished("a"),
        display("b", "voided", "d", updates=True), ("b", CellRetried, {"reason": "r"}), finished("b"),
    )  # fmt: skip

    assert shown(found["a"]) == ["first"]


def test_an_update_of_an_unknown_display_changes_nothing():
    found = folded(display("a", "first", "d"), finished("a"), display("b", "x", "no", updates=True), finished("b"))

    assert (shown(found["a"]), shown(found["b"])) == (["first"], [])
