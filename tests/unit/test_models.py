"""What producers and workers store for each other survives its stored form."""

from datetime import UTC, datetime, timedelta

import msgpack
import pytest
from pydantic import ValidationError

from skep_shared.models import CellSpec, OnWorkerLoss, SessionInfo, SessionOptions, WorkerFacts, WorkerInfo, from_ms
from skep_shared.states import SessionState

STARTED = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
FACTS = WorkerFacts(
    host="é.example", pid=7, version="0.1.0", python="3.11.7", started_at=STARTED, capacity=100, resident=3,
    labels={"gpu": "yes"},
)  # fmt: skip


@pytest.mark.parametrize(
    "model",
    [
        CellSpec(code=""),
        CellSpec(code="print('é\0')\n"),
        CellSpec(
            code="1", timeout=0.5, on_worker_loss="fail", max_attempts=7, inputs=b"\x81\xa1x\x01", labels={"a": "b"}
        ),
        SessionOptions(),
        SessionOptions(labels={"a": "é"}),
        FACTS,
    ],
)
def test_a_model_survives_its_stored_form(model):
    assert type(model).unpack(model.pack()) == model


def test_defaults_take_no_room():
    assert msgpack.unpackb(CellSpec(code="1").pack()) == {"code": "1"}


def test_options_that_were_never_stored_are_the_defaults():
    assert SessionOptions.unpack(b"") == SessionOptions()


def test_a_field_of_a_newer_version_is_ignored():
    packed = msgpack.packb({"code": "1", "colour": "red"})

    assert CellSpec.unpack(packed) == CellSpec(code="1")


@pytest.mark.parametrize(
    "packed",
    [b"", b"\xc1", b"\x81", b"\x05", b"\x90", b"\x80", b"\x81\xa4code\x05", b"\x81\x90\x01", b"\x81\xa4code\xa1\xff", b"\x80\x80"],
    ids=repr,
)  # fmt: skip
def test_bytes_that_are_no_cell_are_a_value_error(packed):
    with pytest.raises(ValueError):  # noqa: PT011 - the text is pydantic's or msgpack's
        CellSpec.unpack(packed)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", 7 * 86_400 + 1),
        ("timeout", float("nan")),
        ("on_worker_loss", "ignore"),
        ("max_attempts", 0),
        ("max_attempts", 101),
        ("inputs", 5),
        ("labels", {"a": 1}),
    ],
)
def test_a_cell_outside_its_limits_is_refused_by_field(field, value):
    with pytest.raises(ValidationError) as caught:
        CellSpec(code="1", **{field: value})

    assert caught.value.errors()[0]["loc"][0] == field


def test_an_unknown_option_of_a_session_is_refused_by_name():
    with pytest.raises(ValidationError) as caught:
        SessionOptions(colour="red")

    assert caught.value.errors()[0]["loc"] == ("colour",)


def test_what_may_happen_on_worker_loss_is_what_a_cell_takes():
    assert [CellSpec(code="1", on_worker_loss=choice.value).on_worker_loss for choice in OnWorkerLoss] == [
        "retry",
        "fail",
    ]


def test_a_session_is_read_from_its_hash():
    fields = {
        b"state": b"closing", b"owner": b"w1", b"token": b"t", b"epoch": b"4", b"seq": b"9", b"cursor": b"7",
        b"last": b"30", b"created_at": b"1000", b"active_at": b"2500", b"options": b"",
    }  # fmt: skip

    info = SessionInfo.from_hash("s", fields, owner_alive=True)

    assert (info.id, info.state, info.owner, info.owner_alive) == ("s", SessionState.CLOSING, "w1", True)
    assert (info.epoch, info.seq, info.cursor, info.last_event, info.pending) == (4, 9, 7, 30, 2)
    assert info.floor == 1
    assert (info.created_at, info.active_at) == (from_ms(1000), from_ms(2500))


def test_a_session_says_from_where_on_its_events_are_kept():
    assert SessionInfo.from_hash("s", {b"state": b"open", b"floor": b"17"}, owner_alive=False).floor == 17


def test_a_session_without_owner_has_none():
    assert SessionInfo.from_hash("s", {b"state": b"open", b"owner": b""}, owner_alive=False).owner is None


def test_a_session_that_was_never_active_was_active_when_it_was_created():
    info = SessionInfo.from_hash("s", {b"state": b"open", b"created_at": b"1000"}, owner_alive=False)

    assert info.active_at == info.created_at == from_ms(1000)


def test_a_worker_is_read_from_its_marker():
    info = WorkerInfo.from_marker("w1", FACTS.pack(), 5000)

    assert (info.id, info.heartbeat_at) == ("w1", from_ms(5000))
    assert {name: getattr(info, name) for name in WorkerFacts.model_fields} == FACTS.model_dump()


def test_redis_milliseconds_become_utc():
    assert from_ms(1500) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=1.5)
