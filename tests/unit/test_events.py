"""Events: every kind survives the stream, and bytes of nobody's are a ValueError."""

from datetime import UTC, datetime
from typing import get_args

import msgpack
import pytest
from pydantic import ValidationError

from skep_shared import events
from skep_shared.events import event_number, pack_event, unpack_event
from skep_shared.states import CellStatus

CELL = {"cell_id": "c", "seq": 2, "attempt": 1}
KINDS = {
    events.SessionStarted: {"worker_id": "w1", "python": "3.11.7"},
    events.SessionMoved: {"worker_id": "w2", "from_worker_id": "w1", "reason": "it died"},
    events.SessionClosedEvent: {},
    events.CellQueued: {**CELL, "code": "1\n\0é", "labels": {"a": "b"}},
    events.CellStarted: CELL,
    events.CellRetried: {**CELL, "reason": "worker lost"},
    events.OutputEvent: {**CELL, "stream": "stderr", "text": "é\n"},
    events.ResultEvent: {**CELL, "bundle": {"text/plain": "1", "image/png": b"\x89"}, "data": b"\x01"},
    events.ErrorEvent: {**CELL, "ename": "ValueError", "evalue": "bad", "traceback": "…"},
    events.WarningEvent: {**CELL, "category": "unsaved", "message": "lock"},
    events.CellFinished: {**CELL, "status": "timed_out", "queued_ms": 0.5, "run_ms": 1, "commit_ms": 2.25},
}


def stored(kind: type, **changes) -> dict:
    name = kind.model_fields["kind"].default
    return {"kind": name, "epoch": 3, "at": 1_500, **KINDS[kind], **changes}


def test_every_kind_is_tested_here():
    assert set(get_args(get_args(events.Event)[0])) == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.model_fields["kind"].default)
def test_an_event_comes_back_as_its_kind_with_its_fields(kind):
    event = unpack_event("s", "7-0", pack_event(stored(kind)))

    assert type(event) is kind
    assert (event.id, event.session_id, event.epoch) == ("7-0", "s", 3)
    assert event.at == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
    assert {name: getattr(event, name) for name in KINDS[kind]} == KINDS[kind]


@pytest.mark.parametrize("kind", [events.SessionStarted, events.SessionMoved, events.SessionClosedEvent])
def test_an_event_of_the_session_has_no_cell(kind):
    event = unpack_event("s", "1-0", pack_event(stored(kind)))

    assert (event.cell_id, event.seq, event.attempt) == (None, None, None)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.model_fields["kind"].default)
def test_the_id_and_session_are_the_streams_whatever_the_bytes_say(kind):
    event = unpack_event("s", "7-0", pack_event(stored(kind, id="9-0", session_id="other")))

    assert (event.id, event.session_id) == ("7-0", "s")


def test_text_with_lone_surrogates_survives():
    event = unpack_event("s", "1-0", pack_event(stored(events.OutputEvent, text="a\ud800b")))

    assert event.text == "a\ud800b"


def test_a_field_of_a_newer_version_is_ignored():
    event = unpack_event("s", "1-0", pack_event(stored(events.CellStarted, colour="red")))

    assert "colour" not in event.model_dump()


@pytest.mark.parametrize("status", CellStatus)
def test_every_way_a_cell_ends_can_be_told(status):
    assert unpack_event("s", "1-0", pack_event(stored(events.CellFinished, status=status.value))).status is status


@pytest.mark.parametrize(
    ("kind", "changes", "field"),
    [
        (events.OutputEvent, {"stream": "stdin"}, "stream"),
        (events.OutputEvent, {"text": 5}, "text"),
        (events.CellFinished, {"status": "gone"}, "status"),
        (events.CellStarted, {"epoch": None}, "epoch"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(kind, changes, field):
    with pytest.raises(ValidationError) as caught:
        unpack_event("s", "1-0", pack_event(stored(kind, **changes)))

    assert caught.value.errors()[0]["loc"][-1] == field


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xc1",
        b"\x05",
        b"\x91\x01",
        b"\x81\x90\x01",
        pack_event({"kind": "no.such.kind", "epoch": 1, "at": 1}),
        pack_event({"epoch": 1, "at": 1}),
        pack_event({"kind": "cell.started", "epoch": 1}),
        pack_event({"kind": "cell.started", "epoch": 1, "at": "now"}),
        pack_event({"kind": "cell.started", "epoch": 1, "at": None}),
        pack_event({"kind": "cell.started", "epoch": 1, "at": 2**63}),
        pack_event({"kind": "cell.started", "epoch": 1, "at": float("inf")}),
        msgpack.packb({1: 2, "kind": "cell.started", "epoch": 1, "at": 1, "seq": "one"}),
    ],
    ids=repr,
)
def test_bytes_that_are_no_event_are_a_value_error(packed):
    with pytest.raises(ValueError):  # noqa: PT011 - the text is pydantic's or msgpack's
        unpack_event("s", "1-0", packed)


def test_an_event_can_not_be_changed():
    event = unpack_event("s", "1-0", pack_event(stored(events.CellStarted)))

    with pytest.raises(ValidationError, match="frozen"):
        event.seq = 9


@pytest.mark.parametrize(("event_id", "number"), [("0-0", 0), ("17-0", 17), (b"17-0", 17), ("17", 17)])
def test_the_number_of_an_event_is_in_its_id(event_id, number):
    assert event_number(event_id) == number
