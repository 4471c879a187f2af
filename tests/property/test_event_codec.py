"""The short way of reading an event gives what pydantic's validation gives, or leaves it to that."""

import sys
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from skep_shared import event_codec
from skep_shared.event_codec import pack_event, unpack_event, unpack_events
from skep_shared.events import BaseEvent, DisplayEvent, Event
from skep_shared.states import CellStatus

KINDS: tuple[type[BaseEvent], ...] = get_args(get_args(Event)[0])
numbers = st.integers(min_value=-(2**63), max_value=2**63 - 1)
plain: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | st.floats() | st.text() | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def fits_msgpack(value: object) -> bool:
    return type(value) is not int or -(2**63) <= value < 2**64


def as_written(value: object) -> object:
    return str(value) if isinstance(value, CellStatus) else value


def fields_of(kind: type[BaseEvent]) -> st.SearchStrategy[dict[str, Any]]:
    """Fields of the right types, where they are simple ones, among others that are anything."""
    name = kind.model_fields["kind"].default
    right = {
        field: st.from_type(info.annotation).filter(fits_msgpack).map(as_written)
        for field, info in kind.model_fields.items()
        if field not in {"id", "session_id", "kind", "at"} and "Any" not in str(info.annotation)
    }
    sound = st.fixed_dictionaries({"kind": st.just(name), "at": st.integers(0, 2**41)}, optional=right)
    wrong = st.dictionaries(st.sampled_from([*kind.model_fields, "colour"]), plain, max_size=3)
    return st.builds(lambda one, other: {**one, **other}, sound, wrong | st.just({}))


def read(call: Any) -> tuple[str, object]:
    try:
        event = call()
    except ValueError as exc:
        return "refused", type(exc)
    shown = repr(event)  # for equality: a NaN is not itself
    return type(event).__name__, (shown, list(event.__dict__), event.model_dump_json() if "inf" not in shown else "")


@given(st.sampled_from(KINDS).flatmap(fields_of))
@example({"kind": "output", "epoch": 1, "at": 5, "stream": "stdout", "text": "a\ud800"})
@example({"kind": "cell.started", "epoch": 1, "at": 2**62})
@example({"kind": "cell.started", "epoch": 2**64 - 1, "at": 1.5})
@example({"kind": "display", "epoch": 1, "at": 5, "bundle": {"a": [{"b": b"\xff"}]}})
def test_both_ways_agree(fields: dict[str, Any]) -> None:
    packed = pack_event(fields)

    short = read(lambda: unpack_event("s", "7-0", packed))

    assert short == read(lambda: event_codec._validated("s", "7-0", packed))


@given(st.sampled_from(KINDS).flatmap(fields_of), st.data())
def test_both_ways_agree_on_bytes_that_were_damaged(fields: dict[str, Any], data: st.DataObject) -> None:
    packed = bytearray(pack_event(fields))
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] = data.draw(st.integers(0, 255))

    short = read(lambda: unpack_event("s", "7-0", bytes(packed)))
    long = read(lambda: event_codec._validated("s", "7-0", bytes(packed)))

    assert short == long or long[1] is UnicodeDecodeError  # the short way doesn't decode a name that it doesn't know


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.model_fields["kind"].default)
def test_an_event_is_what_pydantic_would_make_of_its_values(kind: type[BaseEvent]) -> None:
    """Copies, comparisons and dumps look at more of a model than its fields."""
    needed = {
        "reason": "r", "worker_id": "w", "python": "3", "checkpoint": "1-0", "lost": {}, "from_worker_id": "v", "seq": 1,
        "from_checkpoint": "2-0", "code": "1", "stream": "stdout", "text": "t", "limit_bytes": 1, "waits": True,
        "bundle": {"text/plain": "1"}, "request": 1, "prompt": "?", "is_password": False, "ename": "e", "evalue": "v",
        "traceback": "t", "category": "c", "message": "m", "status": "finished", "queued_ms": 1.0, "run_ms": 2,
        "commit_ms": 0.5, "after": "1-0", "floor": "3-0", "seen": "3-0", "last": "1-0",
    }  # fmt: skip
    own = {name: value for name, value in needed.items() if name in kind.model_fields}
    if "after" in own and kind.model_fields["after"].annotation is int:  # a cell, where others have an event
        own["after"] = 1
    packed = pack_event({"kind": kind.model_fields["kind"].default, "epoch": 3, "at": 1500, **own})

    (event,) = unpack_events("s", 7, [packed])
    rebuilt = TypeAdapter(Event).validate_python(event.model_dump())

    assert (event, repr(event)) == (rebuilt, repr(rebuilt))
    assert event.model_copy(update={"epoch": 4}).epoch == 4
    assert kind.model_validate_json(event.model_dump_json()) == event
    assert list(unpack_events("s", 7, [packed], but=frozenset({event.kind}))) == []


def test_an_event_nested_as_deeply_as_can_be_packed_is_read_or_is_no_event() -> None:
    bundle: Any = 1
    for _ in range(500):
        bundle = [bundle]
    packed = pack_event({"kind": "display", "epoch": 1, "at": 5.5, "bundle": {"application/json": bundle}})

    if sys.version_info < (3, 12):  # whose recursion limit is for code in C too
        with pytest.raises(ValueError, match="is no event"):
            unpack_event("s", "7-0", packed)
    else:  # no session writes it, see MAX_LEVELS
        event = unpack_event("s", "7-0", packed)
        assert isinstance(event, DisplayEvent)
        assert event.bundle == {"application/json": bundle}
