"""What the cells since the last snapshot can have changed."""

from skep_shared.originals import gc
from skep_workers.session.compilation.plain_cells import Uses


class CellUses:
    """The uses of cells of plain values since the last snapshot; unknown if a cell may have changed anything."""

    def __init__(self) -> None:
        self._uses: Uses | None = None
        self._collected = 0  # objects that the garbage collector had deleted at the last snapshot

    def note(self, uses: Uses | None) -> None:
        """Note what a cell of plain values has bound; None: it may have changed anything."""
        self._uses = None if self._uses is None else self._uses.joined(uses)

    def distrust(self) -> None:
        """Compare everything at the next snapshot, because the latest one failed half way."""
        self._uses = None

    def pop(self) -> Uses | None:
        """Return what has been used since the last call; None if anything may have changed.

        An object that the garbage collector has deleted may have changed others in its `__del__`.
        """
        uses, self._uses = self._uses, Uses()
        before, self._collected = self._collected, _collected()
        return uses if self._collected == before else None


def _collected() -> int:
    return sum(generation["collected"] for generation in gc.get_stats())
