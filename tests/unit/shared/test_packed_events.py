"""Each kind of event that a worker reports has a maker with the fields of its class, and reads back as that class."""

import inspect
from typing import get_args, get_type_hints

import msgpack
import pytest

from skep_shared import events, packed_events
from skep_shared.event_codec import unpack_event
from skep_shared.packed_events import EndedWork, EventHead, cell_head, session_head
from skep_shared.states import CellStatus

MADE_BY_READERS = {events.TrimmedEvent, events.ResetEvent}
KINDS = {
    kind.model_fields["kind"].default: kind
    for kind in get_args(get_args(events.Event)[0])
    if kind not in MADE_BY_READERS
}
VALUES = {
    "worker_id": "w", "python": "3.12", "checkpoint": "4", "lost": {"x": "why"}, "notes": ["n"], "is_live": True,
    "from_worker_id": "v", "reason": "r", "ended": EndedWork(tasks=["t"], notes=["n"]), "from_checkpoint": "5",
    "after": 4, "code": "1", "labels": {"a": "b"}, "stream": "stderr", "text": "é", "limit_bytes": 9, "waits": True,
    "bundle": {"text/plain": "1"}, "display_id": "d", "updates": True, "request": 2, "prompt": "?",
    "is_password": True, "data": b"\x01", "ename": "E", "evalue": "v", "traceback": "tb", "category": "c",
    "message": "m", "status": CellStatus.FAILED, "queued_ms": 0.5, "run_ms": 1.5, "commit_ms": 2.5,
    "unsaved": "u", "stopped_by": "before",
}  # fmt: skip


def maker_of(kind):
    return getattr(packed_events, kind.replace(".", "_"))


def own_types_of(maker):
    """Return the fields that a maker's parameters stand for, with their types."""
    types = get_type_hints(maker)
    assert types.pop("return") is bytes
    assert types.pop("head") is EventHead
    if types.pop("ended", None):
        types |= get_type_hints(EndedWork)
    return types


@pytest.mark.parametrize("kind", KINDS)
def test_a_maker_has_the_fields_of_its_event(kind):
    fields = KINDS[kind].model_fields
    own = set(fields) - set(events.BaseEvent.model_fields) - {"kind"}

    assert own_types_of(maker_of(kind)) == {name: fields[name].annotation for name in own}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head", [session_head(3, 1_500), cell_head("c", 7, 2, 3, 1_500)], ids=["session", "cell"])
def test_a_made_event_is_read_as_its_class_with_its_values(kind, head):
    own = {name: VALUES[name] for name in inspect.signature(maker_of(kind)).parameters if name != "head"}
    packed = maker_of(kind)(head, **own)
    event = unpack_event("s", "1-0", packed)
    if ended := own.pop("ended", None):
        own |= ended.nonempty()

    assert type(event) is KINDS[kind]
    assert {name: getattr(event, name) for name in own} == own
    assert list(msgpack.unpackb(packed))[: 1 + len(head)] == ["kind", *head]  # a reader expects them first


def test_fields_without_a_value_are_not_stored():
    head = session_head(3, 1_500)
    finished = packed_events.cell_finished(
        head,
        status=CellStatus.FINISHED,
        queued_ms=0.5,
        run_ms=1.5,
        commit_ms=2.5,
        checkpoint=None,
        unsaved="",
        stopped_by=None,
    )
    queued = packed_events.cell_queued(head, code="1", labels={})
    closed = packed_events.session_closed(head, ended=EndedWork())

    assert not {"unsaved", "stopped_by"} & set(msgpack.unpackb(finished))
    assert "labels" not in msgpack.unpackb(queued)
    assert msgpack.unpackb(closed) == {"kind": "session.closed", "epoch": 3, "at": 1_500}
