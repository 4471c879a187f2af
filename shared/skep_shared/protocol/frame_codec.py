"""Encodes and decodes the frames between a worker host and a session process, without I/O.

A frame is a 4-byte big-endian length and that many bytes of msgpack: an array of the frame's code and its fields.
The first frame from the session process is Hello. If it states another version, the reader raises VersionMismatch and
ends the exchange. Every other fault (unknown code, wrong number or type of fields, oversize) is a ProtocolError as
well. The connection can't be used after that: the host kills the process, and continues itself.
"""

from collections.abc import Callable, Iterator
from struct import Struct
from types import UnionType
from typing import Any, Final, NamedTuple, get_args, get_type_hints

import msgpack

from skep_shared.errors import FrameTooLarge, MalformedFrame, VersionMismatch
from skep_shared.protocol.frame_items import Check, item_checks
from skep_shared.protocol.frames import FRAME_CODES, Blob, Frame, Hello

PROTOCOL_VERSION: Final = 1
MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
HEADER_BYTES: Final = 4
LARGE_BODY_BYTES: Final = 4 * 1024
_BLOB_NAME_BYTES: Final = 16
_BLOB_START: Final = bytes([0x93, FRAME_CODES[Blob], 0xC4, _BLOB_NAME_BYTES])  # an array of 3, and the name's header
_LONG_DATA: Final = b"\xc6"  # msgpack's bin 32
BLOB_HEAD_BYTES: Final = HEADER_BYTES + len(_BLOB_START) + _BLOB_NAME_BYTES + len(_LONG_DATA) + 4  # before the data

_size_at: Final = Struct(">I").unpack_from

FindDestination = Callable[[bytes, int], memoryview | None]  # name and size of a chunk -> the memory for its data


def _accepted_types(annotation: Any) -> tuple[type, ...]:
    """Return the types that a decoded field may have; `frame_items` checks the items of containers."""
    options = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return tuple(getattr(option, "__origin__", option) for option in options)


class _Schema(NamedTuple):
    make: Any
    fields: tuple[tuple[str, tuple[type, ...]], ...]
    containers: tuple[tuple[int, Check], ...]


def _build_schemas() -> dict[int, _Schema]:
    schemas = {}
    for kind, code in FRAME_CODES.items():
        hints = get_type_hints(kind)
        fields = tuple((name, _accepted_types(hints[name])) for name in kind._fields)  # type: ignore[attr-defined]
        schemas[code] = _Schema(kind, fields, item_checks(kind))
    return schemas


_SCHEMAS: Final = _build_schemas()
# All text passes through this encoder. It escapes lone surrogates, which no reader could encode as UTF-8 or as JSON.
_packb = msgpack.Packer(unicode_errors="backslashreplace").pack


def encode_frame(frame: Frame, *, max_bytes: int = MAX_FRAME_BYTES) -> bytes:
    """Return the frame's bytes. Raises FrameTooLarge. Not thread-safe: one thread at a time may call this."""
    body: bytes = _packb((FRAME_CODES[type(frame)], *frame))
    if len(body) > max_bytes:
        raise FrameTooLarge(len(body), max_bytes)
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def encode_blob(blob: Blob) -> tuple[bytes, bytes | memoryview]:
    """Return the frame of a chunk in two parts; the second one is its data, so that megabytes are not copied.

    Raises FrameTooLarge.
    """
    start = _packb((FRAME_CODES[Blob], blob.name, b""))[: -len(_packb(b""))]
    length = _LONG_DATA + len(blob.data).to_bytes(4, "big")  # also for short data, so that the head's size is fixed
    size = len(start) + len(length) + len(blob.data)
    if size > MAX_FRAME_BYTES:
        raise FrameTooLarge(size, MAX_FRAME_BYTES)
    return size.to_bytes(HEADER_BYTES, "big") + start + length, blob.data


class FrameDecoder:
    """Decodes a byte stream, split at any positions, into whole frames in order.

    After an error, every further call raises that error, because data after a bad frame can't be trusted.
    """

    def __init__(self, *, max_bytes: int = MAX_FRAME_BYTES, find_destination: FindDestination | None = None) -> None:
        """`find_destination` returns the memory for a chunk's data, or None if its destination isn't known.

        When the head of a chunk with a destination has been decoded, the caller receives its data there: see `rest`.
        """
        self._buffer = bytearray()
        self._max_bytes = max_bytes
        self._find_destination = find_destination
        self._arriving = Blob(b"", b"")
        self.rest: memoryview | None = None  # if set, the next bytes of the stream belong here and must not be fed
        self._broken: MalformedFrame | FrameTooLarge | VersionMismatch | None = None

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Frame]:
        """Add `data` and yield the frames that are now complete; iterate to the end before feeding again.

        Raises FrameTooLarge, MalformedFrame or VersionMismatch.
        """
        if self._broken is not None:
            raise self._broken
        self._buffer += data
        try:
            yield from self._complete_frames()
        except (FrameTooLarge, MalformedFrame, VersionMismatch) as exc:
            self._broken = exc
            self._buffer.clear()
            raise

    def mark_received(self, count: int) -> Iterator[Blob]:
        """Record that `count` bytes were received into `rest`; yield the chunk if it is complete."""
        if self.rest is not None:
            self.rest = self.rest[count:] or None
            if self.rest is None:
                yield self._arriving

    def check_finished(self) -> None:
        """Raise MalformedFrame if the bytes ended inside a frame."""
        if self.rest is not None:
            raise MalformedFrame(f"the stream ended {len(self.rest)} bytes before the end of a chunk")
        if self._buffer:
            raise MalformedFrame(f"the stream ended {len(self._buffer)} bytes into a frame")

    def _complete_frames(self) -> Iterator[Frame]:
        buffer, start = self._buffer, 0
        received = len(buffer)
        try:
            while (body_at := start + HEADER_BYTES) <= received:
                (size,) = _size_at(buffer, start)
                if size > self._max_bytes:
                    raise FrameTooLarge(size, self._max_bytes)
                end = body_at + size
                if received < end:
                    if self._find_destination is not None and self._begin_chunk(self._find_destination, start):
                        start = received
                    break
                if size < LARGE_BODY_BYTES:
                    frame = _decode_body(buffer[body_at:end])
                else:  # without a copy
                    with memoryview(buffer) as view, view[body_at:end] as body:
                        frame = _decode_body(body)
                start = end
                yield frame
        finally:
            del buffer[:start]

    def _begin_chunk(self, find_destination: FindDestination, start: int) -> bool:
        """Copy the data that has arrived to its destination; return False if the frame isn't a chunk that has one."""
        head = self._buffer[start : start + BLOB_HEAD_BYTES]
        body = head[HEADER_BYTES:]
        name_at = len(_BLOB_START)
        length_at = name_at + _BLOB_NAME_BYTES
        if not body.startswith(_BLOB_START) or not body.startswith(_LONG_DATA, length_at):
            return False
        name, size = bytes(body[name_at:length_at]), int.from_bytes(body[length_at + len(_LONG_DATA) :], "big")
        if len(body) + size != int.from_bytes(head[:HEADER_BYTES], "big"):
            return False
        view = find_destination(name, size)
        if view is None:
            return False
        data = self._buffer[start + BLOB_HEAD_BYTES :]
        view[: len(data)] = data
        self._arriving = Blob(name, view)
        self.rest = view[len(data) :]
        return True


_checked: dict[tuple[Any, ...], _Schema] = {}  # code and field types of valid frames -> schema; see _decode_body


def _decode_body(body: bytearray | memoryview) -> Frame:
    try:
        items = msgpack.unpackb(body, unicode_errors="surrogatepass", strict_map_key=False)
    except Exception as exc:  # depending on the bytes: ValueError, TypeError, RecursionError or msgpack's own errors
        raise MalformedFrame(f"not msgpack ({exc})") from exc
    if type(items) is not list or not items:
        raise MalformedFrame(f"an array of code and fields was expected, not {type(items).__name__}")
    code, *fields = items
    if type(code) is not int:
        raise MalformedFrame(f"unknown code {code!r}")
    # If a frame with this code and these types was valid before, its fields needn't be checked again.
    known = (code, *map(type, fields))
    schema = _checked.get(known)
    if schema is None:
        schema = _check(code, fields)
        if schema.make is not Hello:  # the version in Hello is checked each time
            _checked[known] = schema
    make, _, containers = schema
    for place, check_items in containers:
        if fields[place]:
            check_items(fields[place])
    frame: Frame = make(*fields)
    return frame


def _check(code: int, items: list[Any]) -> _Schema:
    """Return the schema of the frame with this code and these fields. Raises MalformedFrame, VersionMismatch."""
    schema = _SCHEMAS.get(code)
    if schema is None:
        raise MalformedFrame(f"unknown code {code!r}")
    if schema.make is Hello and items and items[0] != PROTOCOL_VERSION and type(items[0]) is int:
        raise VersionMismatch(items[0], PROTOCOL_VERSION)
    name = schema.make.__name__
    if len(items) != len(schema.fields):
        raise MalformedFrame(f"{name} has {len(schema.fields)} fields, {len(items)} were received")
    for item, (field, types) in zip(items, schema.fields, strict=True):
        if type(item) not in types and not (type(item) is int and float in types):
            raise MalformedFrame(f"{name}.{field} can't be {type(item).__name__}")
    return schema
