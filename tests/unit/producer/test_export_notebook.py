"""A session's events as a notebook: outputs as written, what is left out for its size, and always a valid document."""

import json
from datetime import UTC, datetime

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.export.session_notebook import SessionNotebook
from skep_shared.event_codec import pack_event, unpack_event
from skep_shared.events import (
    CellFinished,
    CellQueued,
    CellRetried,
    CellStarted,
    DisplayEvent,
    ErrorEvent,
    OutputCleared,
    OutputEvent,
    OutputTruncated,
    ResultEvent,
    SessionStarted,
    TrimmedEvent,
    WarningEvent,
)
from skep_shared.states import CellStatus


def queued(cell, code="pass"):
    return cell, CellQueued, {"code": code, "labels": {"app": "x"}}


def started(cell):
    return cell, CellStarted, {}


def text(cell, said, stream="stdout"):
    return cell, OutputEvent, {"stream": stream, "text": said}


def display(cell, bundle, display_id=None, *, updates=False):
    return cell, DisplayEvent, {"bundle": bundle, "display_id": display_id, "updates": updates}


def finished(cell, status=CellStatus.FINISHED, **fields):
    times = {"queued_ms": 0.0, "run_ms": 1.5, "commit_ms": 0.0}
    return cell, CellFinished, {"status": status, "checkpoint": "1-0", **times, **fields}


def notebook(*events, max_cell_bytes=10_000, max_bytes=100_000):
    """Return the notebook of the events, each (number of its cell or None, class, fields), with dense ids."""
    book = SessionNotebook("s", max_cell_bytes=max_cell_bytes, max_bytes=max_bytes)
    for number, (cell, kind, fields) in enumerate(events, 1):
        cell_id = None if cell is None else f"id-{cell}"
        head = {"id": f"{number}-0", "session_id": "s", "cell_id": cell_id, "seq": cell, "attempt": cell and 1}
        book.add(kind(**head, epoch=1, at=datetime.now(UTC), **fields))
    document = book.document()
    nbformat.validate(json.loads(json.dumps(document, allow_nan=False)))
    return document


def outputs(*events, **limits):
    [cell] = notebook(queued(1), started(1), *events, finished(1), **limits)["cells"]
    return cell["outputs"]


def test_a_cell_has_its_code_its_number_and_what_is_known_about_it():
    document = notebook(
        (None, SessionStarted, {"worker_id": "w", "python": "3.12.1"}), queued(1, "x = 1"), started(1), finished(1)
    )

    [cell] = document["cells"]
    assert (cell["source"], cell["execution_count"], cell["outputs"]) == ("x = 1", 1, [])
    assert cell["metadata"]["skep"] == {
        "seq": 1, "cell_id": "id-1", "attempt": 1, "status": "finished", "checkpoint": "1-0", "run_ms": 1.5,
        "labels": {"app": "x"},
    }  # fmt: skip
    assert document["metadata"]["language_info"] == {"name": "python", "version": "3.12.1"}
    assert document["metadata"]["skep"] == {"session_id": "s", "last_event": "4-0"}


def test_streams_displays_results_and_errors_are_in_the_order_in_which_they_were_written():
    error = (1, ErrorEvent, {"ename": "E", "evalue": "v", "traceback": "line 1\nE: v\n"})
    found = outputs(
        text(1, "a"), text(1, "b\n"), text(1, "err", "stderr"), display(1, {"image/png": "aaaa"}), text(1, "c"), error
    )

    assert found == [
        {"output_type": "stream", "name": "stdout", "text": "ab\n"},
        {"output_type": "stream", "name": "stderr", "text": "err"},
        {"output_type": "display_data", "data": {"image/png": "aaaa"}, "metadata": {}},
        {"output_type": "stream", "name": "stdout", "text": "c"},
        {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["line 1", "E: v"]},
    ]


def test_a_display_is_as_its_last_update_left_it_also_by_a_later_cell():
    document = notebook(
        queued(1), started(1), display(1, {"text/plain": "1"}, "d"), text(1, "x"), finished(1),
        queued(2), started(2), display(2, {"text/plain": "2"}, "d", updates=True),
        display(2, {"text/plain": "3"}, "d", updates=True), display(2, {"text/plain": "4"}, "d"), finished(2),
    )  # fmt: skip

    first, second = document["cells"]
    assert [output.get("data") for output in first["outputs"]] == [{"text/plain": "3"}, None]
    assert [output.get("data") for output in second["outputs"]] == [{"text/plain": "4"}]


def test_an_update_of_a_voided_attempt_changes_nothing():
    document = notebook(
        queued(1), started(1), display(1, {"text/plain": "1"}, "d"), finished(1),
        queued(2), started(2), display(2, {"text/plain": "void"}, "d", updates=True),
        (2, CellRetried, {"reason": "r"}), started(2), finished(2),
    )  # fmt: skip

    assert document["cells"][0]["outputs"][0]["data"] == {"text/plain": "1"}


@pytest.mark.parametrize("waits", [True, False])
def test_cleared_output_is_left_out(waits):
    found = outputs(
        text(1, "1"), display(1, {"text/plain": "x"}, "d"), (1, OutputCleared, {"waits": waits}), text(1, "2")
    )

    assert [output["text"] for output in found] == ["2"]


def test_output_of_an_earlier_attempt_is_left_out():
    [cell] = notebook(
        queued(1), started(1), text(1, "void"), (1, CellRetried, {"reason": "r"}), text(1, "counts"), finished(1)
    )["cells"]

    assert [output["text"] for output in cell["outputs"]] == ["counts"]


def test_a_cell_that_runs_has_its_output_so_far():
    [cell] = notebook(queued(1), started(1), text(1, "so far"))["cells"]

    assert (cell["metadata"]["skep"]["status"], cell["outputs"][0]["text"]) == ("running", "so far")


def test_a_cell_that_never_started_has_no_number():
    [cell] = notebook(queued(1), finished(1, CellStatus.CANCELLED, checkpoint=None))["cells"]

    assert (cell["execution_count"], cell["metadata"]["skep"]["status"]) == (None, "cancelled")


def test_a_notebook_reports_that_earlier_cells_were_removed():
    trimmed = (None, TrimmedEvent, {"after": "0-0", "floor": "2-0"})
    document = notebook(trimmed, text(1, "a rest"), queued(2), started(2), finished(2))

    assert [cell["cell_type"] for cell in document["cells"]] == ["markdown", "code"]
    assert "retention has removed" in document["cells"][0]["source"]


def test_cells_that_are_left_out_make_room():
    trimmed = (None, TrimmedEvent, {"after": "3-0", "floor": "5-0"})
    document = notebook(queued(1), started(1), text(1, "a" * 90), trimmed, queued(2), text(2, "b" * 90), max_bytes=100)

    assert [output["text"] for output in document["cells"][1]["outputs"]] == ["b" * 90]


def test_warnings_are_in_the_metadata():
    [cell] = notebook(
        queued(1), started(1), (1, WarningEvent, {"category": "c", "message": "m"}), finished(1, unsaved="full")
    )["cells"]

    assert cell["metadata"]["skep"]["warnings"] == ["m", "no checkpoint could be made: full"]


def test_an_output_that_was_cut_by_its_limit_is_followed_by_a_note():
    found = outputs(text(1, "abc"), (1, OutputTruncated, {"limit_bytes": 3}))

    assert [(output["name"], output["text"]) for output in found] == [
        ("stdout", "abc"), ("stderr", "skep: output was cut at 3 bytes\n"),
    ]  # fmt: skip


def test_output_beyond_the_size_of_a_cell_is_left_out_and_a_note_says_how_much():
    found = outputs(text(1, "é" * 300), display(1, {"text/plain": "y" * 400}), text(1, "z" * 50), max_cell_bytes=501)

    assert [output["text"] for output in found] == ["é" * 250, "skep: 560 bytes of output are not in this export\n"]


def test_what_is_cleared_makes_room():
    found = outputs(text(1, "a" * 90), (1, OutputCleared, {"waits": False}), text(1, "b" * 90), max_cell_bytes=100)

    assert [output["text"] for output in found] == ["b" * 90]


def test_an_update_that_has_no_room_is_left_out():
    found = outputs(
        display(1, {"text/plain": "1"}, "d"), display(1, {"text/plain": "2" * 99}, "d", updates=True), max_cell_bytes=50
    )

    assert found[0]["data"] == {"text/plain": "1"}
    assert "bytes of output are not in this export" in found[1]["text"]


def test_an_error_is_there_however_much_was_written_and_its_middle_is_cut():
    error = (1, ErrorEvent, {"ename": "E", "evalue": "v", "traceback": "first\n" + "x" * 200_000 + "\nlast"})
    found = outputs(text(1, "a" * 200), error, max_cell_bytes=100)

    trace = "\n".join(found[1]["traceback"])
    assert (trace.startswith("first"), trace.endswith("last"), len(trace) < 70_000) == (True, True, True)
    assert "characters are left out here" in trace


def test_all_cells_together_have_a_bound_for_code_and_output():
    document = notebook(
        queued(1, "#" * 40), started(1), text(1, "a" * 40), finished(1),
        queued(2, "#" * 40), started(2), text(2, "b" * 40), finished(2), max_bytes=100,
    )  # fmt: skip

    second = document["cells"][1]
    assert second["source"] == "# skep: 40 bytes of code are not in this export"
    assert [output["text"] for output in second["outputs"]] == [
        "b" * 20,
        "skep: 20 bytes of output are not in this export\n",
    ]


@pytest.mark.parametrize(
    ("kind", "shown", "expected"),
    [
        ("text/plain", ["a\n", "b"], "a\nb"),
        ("text/plain", {"no": "text"}, '{"no": "text"}'),
        ("text/plain", 5, "5"),
        ("image/png", b"\x89PNG", "iVBORw=="),
        ("text/html", "\ud800", "\\ud800"),
        ("application/json", {"a": [1, float("nan")]}, {"a": [1, None]}),
        ("application/vnd.x+json", [b"\xff"], ["/w=="]),
    ],
)
def test_a_representation_of_any_type_becomes_a_valid_one(kind, shown, expected):
    [output] = outputs(display(1, {kind: shown}))

    assert output["data"] == {kind: expected}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KINDS = st.text(max_size=8) | st.sampled_from(["text/plain", "text/html", "application/json", "application/x+json"])
BUNDLES = st.dictionaries(KINDS, PLAIN, max_size=3)


@given(BUNDLES, BUNDLES, st.text(), st.text(), st.integers(0, 300))
def test_any_output_makes_a_valid_notebook_within_its_bound(bundle, result, said, ename, limit):
    found = outputs(
        display(1, bundle, "d"), text(1, said), (1, ResultEvent, {"bundle": result}),
        (1, ErrorEvent, {"ename": ename, "evalue": said, "traceback": said}), display(1, result, "d", updates=True),
        max_cell_bytes=limit,
    )  # fmt: skip

    written = [output["text"] for output in found if output.get("name") == "stdout"]
    assert sum(len(part.encode("utf-8", "replace")) for part in written) <= limit


def test_an_event_of_a_newer_or_foreign_writer_makes_a_valid_notebook():
    packed = pack_event(
        {"kind": "display", "cell_id": "c", "seq": 1, "attempt": 1, "epoch": 1, "at": 0, "bundle": {"": 1}}
    )
    book = SessionNotebook("s", max_cell_bytes=100, max_bytes=100)
    book.add(unpack_event("s", "1-0", packed))

    nbformat.validate(book.document())
