"""The limit on what one cell may write: its output is cut there, and a Truncated frame says so once."""

from typing import Final

from skep_shared.protocol.frames import Frame, Truncated
from skep_workers.session.attribution.writer import Writer
from skep_workers.session.output.frame_batch import Text

DEFAULT_OUTPUT_LIMIT_BYTES: Final = 64 * 1024 * 1024
COUNTED_CELLS: Final = 1000


class OutputLimit:
    """Counts what each cell has written. A count over the limit means that the cell's Truncated frame exists."""

    __slots__ = ("_written", "limit_bytes")

    def __init__(self) -> None:
        self._written: dict[Writer, int] = {}
        self.limit_bytes = DEFAULT_OUTPUT_LIMIT_BYTES

    def is_exceeded(self, writer: Writer) -> bool:
        """Return whether all further output of this cell is dropped."""
        return self._written.get(writer, 0) > self.limit_bytes

    def apply(self, item: Text) -> list[Text | Frame]:
        """Count this text; return the part that is within the limit, and a Truncated frame after the last part."""
        text = "".join(item.pieces)
        item.pieces = [text]
        writer, limit = item.writer, self.limit_bytes
        written = self._written.get(writer, 0)
        if written > limit:
            return []
        # A character is counted as one byte as long as even four bytes for each would stay within the limit.
        size = len(text) if written + 4 * len(text) <= limit else len(text.encode("utf-8", "surrogatepass"))
        self._written[writer] = written + size
        if written + size <= limit:
            return [item]
        self._written[writer] = limit + 1
        kept = text.encode("utf-8", "surrogatepass")[: limit - written].decode("utf-8", "ignore")
        return [Text(writer, item.stream, kept), Truncated(writer.seq, writer.attempt, limit)]

    def forget_early_cells(self) -> None:
        """Drop the counts of all but the latest cells; tasks of the others start again at zero."""
        while len(self._written) > COUNTED_CELLS:
            del self._written[next(iter(self._written))]
