"""Frames to a session process, whose large chunks are received in their final place."""

from collections.abc import Iterable
from typing import ClassVar

from skep_shared.errors import ProtocolError
from skep_shared.protocol.frame_codec import FrameDecoder, encode_blob, encode_frame
from skep_shared.protocol.frames import (
    Answer,
    Blob,
    Configure,
    Execute,
    Expect,
    Interrupt,
    Ping,
    Request,
    Resend,
    Restore,
    Shutdown,
    Twin,
)

from ..target import Finding
from .frames import CHUNK, NAME, packed_manifest

MOST_BYTES = 1024 * 1024  # of a chunk with a place of its own; a session knows the size from the manifest


class FramesToSession:
    """An input is bytes of the cell socket; its first byte decides into what pieces they are cut."""

    name: ClassVar[str] = "session_frames"

    def close(self) -> None:
        """Nothing is open."""

    def seeds(self) -> Iterable[object]:
        """Yield what a host sends."""
        blob = b"".join(map(bytes, encode_blob(Blob(NAME, CHUNK * 40))))
        frames = (
            Configure({"durability": "commit", "limits": {"a": 1}}), Execute(1, 1, "c1", "1", b"\x80", 3.0), Ping(0),
            Interrupt(1, 1), Shutdown(1), Request(1, "complete", b"\x90", 5.0), Answer(1, "text"), Resend(),
            Restore(packed_manifest(1), False), Twin(1, b"m"),
        )  # fmt: skip
        yield b"\x40" + b"".join(map(encode_frame, frames))
        yield b"\x07" + encode_frame(Expect(packed_manifest(1))) + blob + encode_frame(Ping(1))

    def execute(self, data: bytes) -> None:
        """Decode the frames; the same ones must come whether chunks have a place or not."""
        whole = self._decode(data[1:], len(data), has_places=False)
        cut = self._decode(data[1:], 1 + (data[0] if data else 0), has_places=True)
        if repr(whole) != repr(cut):
            raise Finding(f"received whole or in pieces, frames differ: {whole}, {cut}")

    def _decode(self, data: bytes, piece: int, *, has_places: bool) -> list[object]:
        def find_place(name: bytes, size: int) -> memoryview | None:
            return memoryview(bytearray(size)) if has_places and size <= MOST_BYTES else None

        decoder = FrameDecoder(find_destination=find_place)
        frames: list[object] = []
        try:
            for start in range(0, len(data), max(1, piece)):
                rest = memoryview(data)[start : start + max(1, piece)]
                while rest and decoder.rest is not None:
                    count = min(len(rest), len(decoder.rest))
                    decoder.rest[:count] = rest[:count]
                    frames += decoder.mark_received(count)
                    rest = rest[count:]
                if rest:
                    frames += decoder.feed(rest)
            decoder.check_finished()
        except ProtocolError as exc:
            frames.append(type(exc))
        return [Blob(each.name, bytes(each.data)) if isinstance(each, Blob) else each for each in frames]
