"""Pack events for the stream, and unpack them as typed objects.

A writer packs plain dicts. A reader validates them once, when it unpacks, in one of two ways. The fast one is for bytes
as our workers write them: decoders generated from the event classes check the types while they decode, which halves the
cost of an event. Bytes that they refuse, for whatever reason, go through pydantic's own validation, which decides, and
whose error says what is wrong.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Union, cast, get_args

import msgpack
import msgspec
from pydantic import BaseModel, TypeAdapter

from skep_shared.events import BaseEvent, Event
from skep_shared.foreign_errors import describe_error
from skep_shared.json_form import whole_text

EVENT_FIELD: Final = b"e"
OF_STREAM: Final = ("id", "session_id")  # known from the event's place in the stream, whatever its bytes say
_adapter: Final[TypeAdapter[Event]] = TypeAdapter(Event)
_time_of: Final = lru_cache(maxsize=64)(lambda at_ms: datetime.fromtimestamp(at_ms / 1000, UTC))  # many share theirs
_packer: Final = msgpack.Packer(unicode_errors="backslashreplace")  # a lone surrogate would be no valid UTF-8

# How pydantic's own `model_construct` fills an object, without its loop over the fields.
_set_values: Final = BaseModel.__dict__["__dict__"].__set__
_set_names: Final = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra: Final = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private: Final = BaseModel.__dict__["__pydantic_private__"].__set__
_new: Final[Callable[..., Any]] = object.__new__
_values_of: Final = msgspec.structs.asdict

_REFUSALS: Final = (msgspec.DecodeError, RecursionError, OverflowError, OSError, ValueError)


def pack_event(event: dict[str, Any]) -> bytes:
    """Return the bytes of an event, without validating it."""
    packed: bytes = _packer.pack(event)
    return packed


def unpack_event(session_id: str, event_id: str, packed: bytes) -> Event:
    """Return the typed event. Raises ValueError (pydantic's or msgpack's) for bytes that are no event."""
    try:
        return _event(session_id, event_id, _decode(packed))
    except _REFUSALS:
        return _validated(session_id, event_id, packed)


def unpack_events(
    session_id: str, first: int, events: Iterable[bytes], *, but: frozenset[str] = frozenset()
) -> Iterator[Event]:
    """Yield consecutive events from number `first` on, each unpacked on demand.

    but: kinds that are left out. Raises as `unpack_event` does.
    """
    for number, packed in enumerate(events, start=first):
        event_id = f"{number}-0"
        try:
            plain = _decode(packed)
            if but and plain.kind in but:
                continue
            event = _event(session_id, event_id, plain)
        except _REFUSALS:
            event = _validated(session_id, event_id, packed)
        yield event


def _plain_class(kind: type[BaseEvent]) -> type[Any]:
    """Return a class to decode an event's bytes into, with the same fields in the same order."""
    fields: list[tuple[str, Any, Any]] = []
    for name, field in kind.model_fields.items():
        annotation = int if name == "at" else field.annotation
        if name in OF_STREAM:
            default = msgspec.field(default="")
        elif name == "kind":  # the tag, which has to be a field too: it has its place among them
            default = msgspec.field(default=field.default, name="")
        elif field.is_required():
            default = msgspec.field()
        elif field.default_factory is not None:
            default = msgspec.field(default_factory=cast("Callable[[], Any]", field.default_factory))
        else:
            default = msgspec.field(default=field.default)
        fields.append((name, annotation, default))
    tag = str(kind.model_fields["kind"].default)
    return msgspec.defstruct(kind.__name__, fields, tag_field="kind", tag=tag, kw_only=True)


_CLASSES: Final = {_plain_class(kind): kind for kind in get_args(get_args(Event)[0])}
_NAMES: Final = {kind: set(kind.model_fields) for kind in _CLASSES.values()}
_decode: Final = msgspec.msgpack.Decoder(Union[tuple(_CLASSES)]).decode  # noqa: UP007 - made of a tuple


def _event(session_id: str, event_id: str, plain: Any) -> Event:
    """Return the event of a decoded object, whose types the decoder has checked."""
    kind = _CLASSES[type(plain)]
    values = _values_of(plain)
    values["id"] = event_id
    values["session_id"] = session_id
    values["at"] = _time_of(values["at"])
    event: Event = _new(kind)
    _set_values(event, values)
    _set_names(event, _NAMES[kind])
    _set_extra(event, None)
    _set_private(event, None)
    return event


def _validated(session_id: str, event_id: str, packed: bytes) -> Event:
    try:
        # Text with lone surrogates, which readers could not encode, is escaped.
        fields = whole_text(msgpack.unpackb(packed, unicode_errors="surrogatepass", strict_map_key=False))
        fields["id"], fields["session_id"] = event_id, session_id
        fields["at"] = _time_of(fields["at"])
    except (KeyError, TypeError, OverflowError, OSError, RecursionError) as exc:  # no map, a list for a key, no time
        raise ValueError(f"event {event_id} of session {session_id!r} is no event ({describe_error(exc)})") from exc
    return _adapter.validate_python(fields)
