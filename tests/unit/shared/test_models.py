"""What producers and workers store for each other survives its stored form."""

from datetime import UTC, datetime, timedelta

import msgpack
import pytest
from pydantic import ValidationError

from skep_shared.errors import InvalidArgument
from skep_shared.models import (
    CellSpec,
    OnWorkerLoss,
    OwnerFacts,
    SessionInfo,
    SessionOptions,
    WorkerFacts,
    WorkerInfo,
    from_ms,
)
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
        CellSpec(code="1", only_after="é"),
        SessionOptions(),
        SessionOptions(labels={"a": "é"}),
        SessionOptions(env={"A": "é\n"}, cwd="é/b", idle_seconds=0.5, expires_in=60),
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
    with pytest.raises(InvalidArgument) as caught:
        SessionOptions(colour="red")

    assert (caught.value.field, caught.value.value) == ("colour", "red")


def test_options_show_no_value_of_a_variable():
    options = SessionOptions(env={"TOKEN": "a secret"})

    assert "secret" not in f"{options!r} {options}"
    with pytest.raises(ValidationError) as caught:
        SessionOptions.unpack(msgpack.packb({"env": {"TOKEN": ["a secret"]}}))
    assert "secret" not in str(caught.value)


def test_a_session_has_the_options_that_concern_its_users():
    options = SessionOptions(labels={"a": "b"}, env={"B": "x", "A": "y"}, cwd="c", idle_seconds=1.5, expires_in=60)

    info = SessionInfo.from_hash("s", {b"state": b"open", b"options": options.pack()})
    assert (info.labels, info.env, info.cwd) == ({"a": "b"}, ("A", "B"), "c")
    assert (info.idle_seconds, info.expires_in) == (1.5, 60.0)


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

    info = SessionInfo.from_hash("s", fields, facts=OwnerFacts())

    assert (info.id, info.state, info.owner, info.owner_alive) == ("s", SessionState.CLOSING, "w1", True)
    assert (info.epoch, info.seq, info.cursor, info.last_event, info.pending) == (4, 9, 7, 30, 2)
    assert info.floor == 1
    assert (info.created_at, info.active_at) == (from_ms(1000), from_ms(2500))


def test_a_session_has_the_tier_that_it_asks_for_and_the_one_of_its_owner():
    fields = {b"state": b"open", b"options": SessionOptions(sandbox="basic").pack()}

    info = SessionInfo.from_hash("s", fields, facts=OwnerFacts(sandbox="strict"))
    assert (info.sandbox, info.owner_sandbox, info.shortage) == ("basic", "strict", "")
    assert SessionInfo.from_hash("s", {b"state": b"open"}).owner_sandbox is None


def test_a_session_of_a_client_that_knows_no_sandbox_asks_for_none():
    assert SessionOptions.unpack(SessionOptions(labels={"a": "b"}).pack()).sandbox == "none"
    assert b"sandbox" not in SessionOptions().pack()


def test_a_session_says_from_where_on_its_events_are_kept():
    assert SessionInfo.from_hash("s", {b"state": b"open", b"floor": b"17"}).floor == 17


def test_a_session_without_owner_has_none():
    assert SessionInfo.from_hash("s", {b"state": b"open", b"owner": b""}).owner is None


def test_a_session_that_was_never_active_was_active_when_it_was_created():
    info = SessionInfo.from_hash("s", {b"state": b"open", b"created_at": b"1000"})

    assert info.active_at == info.created_at == from_ms(1000)


def test_a_worker_is_read_from_its_marker():
    info = WorkerInfo.from_marker("w1", FACTS.pack(), 5000)

    assert (info.id, info.heartbeat_at) == ("w1", from_ms(5000))
    assert {name: getattr(info, name) for name in WorkerFacts.model_fields} == dict(FACTS)


def test_redis_milliseconds_become_utc():
    assert from_ms(1500) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=1.5)
