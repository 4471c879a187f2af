"""The protocol between a worker host and a session process: bytes in, frames out, no I/O.

A frame is a 4-byte big-endian length and that many bytes of msgpack: an array of the frame's code and its fields.
The first frame from the session process is Hello; whoever reads another version there raises VersionMismatch and
ends the exchange. Every other fault (unknown code, wrong count or type of fields, oversize) is a ProtocolError too,
after which the connection is of no more use: the host kills the process, never itself.
"""

from collections.abc import Callable, Iterator
from types import UnionType
from typing import Any, Final, NamedTuple, get_args, get_type_hints

import msgpack

from skep_shared.errors import FrameTooLarge, MalformedFrame, VersionMismatch
from skep_shared.frames import FRAME_CODES, Blob, Frame, Hello

PROTOCOL_VERSION: Final = 1
MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
HEADER_BYTES: Final = 4
LARGE_BODY_BYTES: Final = 4 * 1024
_BLOB_NAME_BYTES: Final = 16
_BLOB_START: Final = bytes([0x93, FRAME_CODES[Blob], 0xC4, _BLOB_NAME_BYTES])  # an array of three, and the name's head
_LONG_DATA: Final = b"\xc6"  # msgpack's bin 32
BLOB_HEAD_BYTES: Final = HEADER_BYTES + len(_BLOB_START) + _BLOB_NAME_BYTES + len(_LONG_DATA) + 4  # before its data

Place = Callable[[bytes, int], memoryview | None]


def _accepted_types(annotation: Any) -> tuple[type, ...]:
    """Give the types a decoded field may have; containers are checked one level deep."""
    options = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return tuple(getattr(option, "__origin__", option) for option in options)


class _Schema(NamedTuple):
    make: Any
    fields: tuple[tuple[str, tuple[type, ...]], ...]


def _build_schemas() -> dict[int, _Schema]:
    schemas = {}
    for kind, code in FRAME_CODES.items():
        hints = get_type_hints(kind)
        fields = tuple((name, _accepted_types(hints[name])) for name in kind._fields)  # type: ignore[attr-defined]
        schemas[code] = _Schema(kind, fields)
    return schemas


_SCHEMAS: Final = _build_schemas()
# Text enters here: a lone surrogate becomes its escape, since no reader could encode it as UTF-8, or dump it to JSON.
_packb = msgpack.Packer(unicode_errors="backslashreplace").pack


def encode_frame(frame: Frame, *, max_bytes: int = MAX_FRAME_BYTES) -> bytes:
    """Give the frame's bytes. Raises FrameTooLarge. Only one thread at a time may call this."""
    body: bytes = _packb((FRAME_CODES[type(frame)], *frame))
    if len(body) > max_bytes:
        raise FrameTooLarge(len(body), max_bytes)
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def encode_blob(blob: Blob) -> tuple[bytes, bytes | memoryview]:
    """Give the frame of a chunk in two parts, the second being its data: megabytes are better not copied.

    Raises FrameTooLarge.
    """
    start = _packb((FRAME_CODES[Blob], blob.name, b""))[: -len(_packb(b""))]
    length = _LONG_DATA + len(blob.data).to_bytes(4, "big")  # whatever the length
    size = len(start) + len(length) + len(blob.data)
    if size > MAX_FRAME_BYTES:
        raise FrameTooLarge(size, MAX_FRAME_BYTES)
    return size.to_bytes(HEADER_BYTES, "big") + start + length, blob.data


class FrameDecoder:
    """Takes bytes however they were cut, gives whole frames in order.

    After it has raised it stays raised: what follows a bad frame can't be trusted.
    """

    def __init__(self, *, max_bytes: int = MAX_FRAME_BYTES, place: Place | None = None) -> None:
        """`place` gives where the data of a chunk belongs, by its name and size, or None where that isn't known.

        Such a chunk, once its head has come, is to be received there: see `rest`.
        """
        self._buffer = bytearray()
        self._max_bytes = max_bytes
        self._place = place
        self._arriving = Blob(b"", b"")
        self.rest: memoryview | None = None  # where the next bytes of the stream belong, instead of being fed
        self._broken: MalformedFrame | FrameTooLarge | VersionMismatch | None = None

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Frame]:
        """Take `data` and yield the frames that are complete now; iterate to the end before feeding again.

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

    def took(self, count: int) -> Iterator[Blob]:
        """Note that so many bytes were received into `rest`; yield the chunk if it is whole, its data in its place."""
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
        try:
            while len(buffer) - start >= HEADER_BYTES:
                size = int.from_bytes(buffer[start : start + HEADER_BYTES], "big")
                if size > self._max_bytes:
                    raise FrameTooLarge(size, self._max_bytes)
                end = start + HEADER_BYTES + size
                if len(buffer) < end:
                    if self._place is not None and self._begin_to_place(self._place, start):
                        start = len(buffer)
                    break
                body_at = start + HEADER_BYTES
                if size < LARGE_BODY_BYTES:
                    frame = _decode_body(buffer[body_at:end])
                else:  # not a copy
                    with memoryview(buffer) as view, view[body_at:end] as body:
                        frame = _decode_body(body)
                start = end
                yield frame
        finally:
            del buffer[:start]

    def _begin_to_place(self, place: Place, start: int) -> bool:
        """Tell whether the frame that has begun is a chunk whose place is known; what there is of it is put there."""
        head = self._buffer[start : start + BLOB_HEAD_BYTES]
        body = head[HEADER_BYTES:]
        name_at = len(_BLOB_START)
        length_at = name_at + _BLOB_NAME_BYTES
        if not body.startswith(_BLOB_START) or not body.startswith(_LONG_DATA, length_at):
            return False
        name, size = bytes(body[name_at:length_at]), int.from_bytes(body[length_at + len(_LONG_DATA) :], "big")
        if len(body) + size != int.from_bytes(head[:HEADER_BYTES], "big"):
            return False
        view = place(name, size)
        if view is None:
            return False
        data = self._buffer[start + BLOB_HEAD_BYTES :]
        view[: len(data)] = data
        self._arriving = Blob(name, view)
        self.rest = view[len(data) :]
        return True


_checked: dict[tuple[Any, ...], Any] = {}  # code and types of what was found right -> what it makes; see _decode_body


def _decode_body(body: bytearray | memoryview) -> Frame:
    try:
        items = msgpack.unpackb(body, unicode_errors="surrogatepass", strict_map_key=False)
    except Exception as exc:  # msgpack raises ValueError, TypeError, RecursionError and its own, by what it met
        raise MalformedFrame(f"not msgpack ({exc})") from exc
    if not isinstance(items, list) or not items:
        raise MalformedFrame(f"an array of code and fields was expected, not {type(items).__name__}")
    # A code with fields of these types was right before: they needn't be looked at one by one.
    known = (items[0], *map(type, items)) if type(items[0]) is int else None
    make = _checked.get(known) if known is not None else None
    if make is None:
        make = _check(items)
        if known is not None and make is not Hello:  # whose version is looked at each time
            _checked[known] = make
    frame: Frame = make(*items[1:])
    return frame


def _check(items: list[Any]) -> Any:
    """Give the class of the frame that these items make. Raises MalformedFrame, VersionMismatch."""
    schema = _SCHEMAS.get(items[0]) if type(items[0]) is int else None
    if schema is None:
        raise MalformedFrame(f"unknown code {items[0]!r}")
    if schema.make is Hello and len(items) > 1 and items[1] != PROTOCOL_VERSION and type(items[1]) is int:
        raise VersionMismatch(items[1], PROTOCOL_VERSION)
    name = schema.make.__name__
    if len(items) - 1 != len(schema.fields):
        raise MalformedFrame(f"{name} has {len(schema.fields)} fields, {len(items) - 1} came")
    for item, (field, types) in zip(items[1:], schema.fields, strict=True):
        if type(item) not in types and not (type(item) is int and float in types):
            raise MalformedFrame(f"{name}.{field} can't be {type(item).__name__}")
    return schema.make
