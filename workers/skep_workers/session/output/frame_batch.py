"""Output and frames that wait to be sent to the host, and their encoding."""

from typing import Final

from skep_shared.errors import FrameTooLarge
from skep_shared.protocol.frame_codec import encode_frame
from skep_shared.protocol.frames import Frame, Notice, Output
from skep_workers.session.attribution.writer import Writer

CHUNK_CHARS: Final = 64 * 1024


class Text:
    """Text of one writer on one stream, in pieces."""

    __slots__ = ("pieces", "stream", "writer")

    def __init__(self, writer: Writer, stream: str, piece: str) -> None:
        self.writer = writer
        self.stream = stream
        self.pieces = [piece]


class FrameBatch:
    """Text and frames that have been collected since the last send, in their order."""

    __slots__ = ("chars", "items")

    def __init__(self) -> None:
        self.items: list[Text | Frame] = []
        self.chars = 0  # of the text in `items`

    def remove_all(self) -> list[Text | Frame]:
        """Remove all items and return them."""
        items, self.items, self.chars = self.items, [], 0
        return items


def encode(items: list[Text | Frame]) -> list[bytes]:
    """Return the encoded frames, one or more for each item. A notice replaces a frame that would be too large."""
    encoded = []
    for item in items:
        if type(item) is Text:
            text = "".join(item.pieces)
            for start in range(0, len(text), CHUNK_CHARS):
                chunk = text[start : start + CHUNK_CHARS]
                encoded.append(encode_frame(Output(item.writer.seq, item.writer.attempt, item.stream, chunk)))
        else:
            try:
                encoded.append(encode_frame(item))  # type: ignore[arg-type]
            except FrameTooLarge as exc:  # the host would reject the frame, so it gets this notice instead
                encoded.append(encode_frame(_too_large(item, exc)))  # type: ignore[arg-type]
    return encoded


def _too_large(frame: Frame, exc: FrameTooLarge) -> Notice:
    seq, attempt = getattr(frame, "seq", 0), getattr(frame, "attempt", 0)
    return Notice(seq, attempt, "left_out", f"{type(frame).__name__} is left out: {exc}")
