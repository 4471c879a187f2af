"""Events: every kind survives the stream, and bytes of nobody's are a ValueError."""

import inspect
import json
from datetime import UTC, datetime
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import msgpack
import pytest
from pydantic import ValidationError

import skep
from skep_shared import events
from skep_shared.event_codec import pack_event, unpack_event
from skep_shared.events import event_number
from skep_shared.states import CellStatus
from skep_shared.values import encode_value

EXAMPLES = {
    bool: True,
    int: 7,
    float: 0.5,
    str: "é\n\0",
    bytes: b"\x01\xff",
    dict[str, str]: {"a": "é"},
    list[str]: ["é", ""],
    dict[str, Any]: {"text/plain": "1", "image/png": b"\x89", "application/json": {"a": [1, None]}},
    CellStatus: CellStatus.TIMED_OUT,
}
OF_EVERY_EVENT = {"id", "session_id", "kind", "epoch", "at"}
ALL_KINDS = get_args(get_args(events.Event)[0])


def example_of(annotation: Any) -> object:
    if get_origin(annotation) is Literal:
        return get_args(annotation)[-1]
    if isinstance(annotation, UnionType):
        return EXAMPLES[get_args(annotation)[0]]
    return EXAMPLES[annotation]


KINDS = {
    kind: {
        name: example_of(field.annotation) for name, field in kind.model_fields.items() if name not in OF_EVERY_EVENT
    }
    for kind in ALL_KINDS
}


def stored(kind: type, **changes) -> dict:
    name = kind.model_fields["kind"].default
    return {"kind": name, "epoch": 3, "at": 1_500, **KINDS[kind], **changes}


def test_every_event_class_can_be_read():
    """One that is missing in the union is written and never read."""
    classes = {cls for _, cls in inspect.getmembers(events, inspect.isclass) if issubclass(cls, events.BaseEvent)}

    assert classes - {events.BaseEvent} == set(ALL_KINDS)


def test_no_two_kinds_have_the_same_name():
    assert len({kind.model_fields["kind"].default for kind in ALL_KINDS}) == len(ALL_KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.model_fields["kind"].default)
def test_an_event_comes_back_as_its_kind_with_its_fields(kind):
    event = unpack_event("s", "7-0", pack_event(stored(kind)))

    assert type(event) is kind
    assert (event.id, event.session_id, event.epoch) == ("7-0", "s", 3)
    assert event.at == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
    assert {name: getattr(event, name) for name in KINDS[kind]} == KINDS[kind]


@pytest.mark.parametrize(
    "kind", [kind for kind in ALL_KINDS if kind.model_fields["kind"].default.startswith("session.")]
)
def test_an_event_of_the_session_has_no_cell(kind):
    cell = {"cell_id", "seq", "attempt"}
    fields = {name: value for name, value in stored(kind).items() if name not in cell}

    event = unpack_event("s", "1-0", pack_event(fields))

    assert event.model_dump(include=cell) == dict.fromkeys(cell)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.model_fields["kind"].default)
def test_the_id_and_session_are_the_streams_whatever_the_bytes_say(kind):
    event = unpack_event("s", "7-0", pack_event(stored(kind, id="9-0", session_id="other")))

    assert (event.id, event.session_id) == ("7-0", "s")


@pytest.mark.parametrize("pack", [pack_event, lambda event: msgpack.packb(event, unicode_errors="surrogatepass")])
def test_lone_surrogates_are_escaped(pack):
    """Those that an earlier version has written are, too."""
    event = unpack_event("s", "1-0", pack(stored(events.OutputEvent, text="é\ud800b")))

    assert event.text == "é\\ud800b"
    assert event.text.encode()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.model_fields["kind"].default)
def test_every_event_dumps_to_json(kind):
    event = unpack_event("s", "7-0", pack_event(stored(kind)))

    assert json.loads(event.model_dump_json()) == event.model_dump(mode="json")
    json.dumps(event.model_dump(mode="json"), allow_nan=False, ensure_ascii=False).encode()


def result(value):
    return unpack_event("s", "1-0", pack_event(stored(events.ResultEvent, data=encode_value(value))))


@pytest.mark.parametrize(
    ("value", "in_json"),
    [
        (42, 42),
        (3.14, 3.14),
        (10**30, 10**30),
        (float("nan"), None),
        (float("-inf"), None),
        (b"\xff", "/w=="),
        ((1, [True, None]), [1, [True, None]]),
        ("\udcff", "\\udcff"),
        ({1: "a", "b": {(1, 2): 0}}, {"1": "a", "b": {"(1, 2)": 0}}),
        ({1: "a", "1": "b"}, {"1": "a", "'1'": "b"}),
    ],
    ids=repr,
)
def test_a_result_has_its_value_and_dumps_it_to_json(value, in_json):
    event = result(value)

    assert repr(event.value) == repr(value if value != "\udcff" else "\\udcff")
    assert not event.value_is_repr
    for dumped in (json.loads(event.model_dump_json()), event.model_dump(mode="json")):
        assert (dumped["value"], dumped["value_is_repr"]) == (in_json, False)
    json.dumps(event.model_dump(mode="json"), allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize("data", [None, b"\xc1"])
def test_a_result_without_readable_data_has_its_text_for_a_value(data):
    event = unpack_event("s", "1-0", pack_event(stored(events.ResultEvent, bundle={"text/plain": "<x>"}, data=data)))

    assert (event.value, event.value_is_repr) == ("<x>", True)
    assert json.loads(event.model_dump_json())["value"] == "<x>"


def test_a_result_comes_back_from_its_json():
    event = result([3.14, b"\xff"])

    assert events.ResultEvent.model_validate_json(event.model_dump_json()).value == [3.14, b"\xff"]


def test_every_event_class_is_exported():
    assert {getattr(skep, kind.__name__) for kind in ALL_KINDS} == set(ALL_KINDS)


def test_a_field_of_a_newer_version_is_ignored():
    event = unpack_event("s", "1-0", pack_event(stored(events.CellStarted, colour="red")))

    assert "colour" not in event.model_dump()


@pytest.mark.parametrize("status", CellStatus)
def test_every_end_of_a_cell_has_a_message(status):
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
