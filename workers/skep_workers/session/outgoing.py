"""What waits to be sent to the host, and how it becomes frames."""

from typing import Final

from skep_shared.errors import FrameTooLarge
from skep_shared.frame_codec import encode_frame
from skep_shared.frames import Frame, Notice, Output
from skep_workers.session.writer import Writer

CHUNK_CHARS: Final = 64 * 1024


class Text:
    """Text of one writer and one stream, in pieces."""

    __slots__ = ("pieces", "stream", "writer")

    def __init__(self, writer: Writer, stream: str, piece: str) -> None:
        self.writer = writer
        self.stream = stream
        self.pieces = [piece]


def encode(outgoing: list[Text | Frame]) -> list[bytes]:
    """Give the encoded frames, one or more of each item. A frame that would be too large is replaced by a notice."""
    encoded = []
    for item in outgoing:
        if type(item) is Text:
            text = "".join(item.pieces)
            for start in range(0, len(text), CHUNK_CHARS):
                chunk = text[start : start + CHUNK_CHARS]
                encoded.append(encode_frame(Output(item.writer.seq, item.writer.attempt, item.stream, chunk)))
        else:
            try:
                encoded.append(encode_frame(item))  # type: ignore[arg-type]
            except FrameTooLarge as exc:  # nobody reads such a frame: this is said in its place
                encoded.append(encode_frame(_too_large(item, exc)))  # type: ignore[arg-type]
    return encoded


def _too_large(frame: Frame, exc: FrameTooLarge) -> Notice:
    seq, attempt = getattr(frame, "seq", 0), getattr(frame, "attempt", 0)
    return Notice(seq, attempt, "left_out", f"{type(frame).__name__} is left out: {exc}")
