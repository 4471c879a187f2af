"""Bursts of flushes: the first flushes are sent at once, and later ones only make the text outlive the process.

A program that flushes after each line would otherwise cost a send and a frame per line. Text that a later flush
covers is copied to memory that is shared with the host, which adds it to the output if the process dies first.
"""

from typing import Final

from skep_shared.protocol.flushed_text import FlushedText
from skep_workers.session.output.frame_batch import Text
from skep_workers.session.output.spool import Spool
from skep_workers.session.safeguards.clock import monotonic

BURST_SECONDS: Final = 0.02
BURST_FLUSHES: Final = 20


class FlushBurst:
    """Counts flushes, and copies flushed text to the shared memory. Hold the link's lock while calling `preserve`."""

    __slots__ = ("_ends_at", "_flushed", "_flushes", "_preserved")

    def __init__(self, flushed: FlushedText) -> None:
        self._flushed = flushed
        self._preserved: Text | None = None  # the item whose text is in the shared memory
        self._ends_at = 0.0
        self._flushes = 0

    def count_flush(self) -> bool:
        """Count a flush; return whether it is one of the later ones of a burst."""
        now = monotonic()
        if now > self._ends_at:
            self._ends_at, self._flushes = now + BURST_SECONDS, 0
        self._flushes += 1
        return self._flushes > BURST_FLUSHES

    def preserve(self, spool: Spool, item: Text, frames_sent: int) -> bool:
        """Copy the text of `item`, which ends in `spool`, to the shared memory; False if it has to be sent instead."""
        parts = spool.new_chunks()
        if self._preserved is not item:  # this flush is the item's first: the text before the spool is copied too
            self._flushed.restart()
            self._preserved = item
            parts.insert(0, "".join(item.pieces).encode("utf-8", "surrogatepass"))
        return self._flushed.add(parts, frames_sent, item.stream)
