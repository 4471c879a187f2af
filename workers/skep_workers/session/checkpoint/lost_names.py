"""Names that a checkpoint could not save: reading one says which it was, when, and why.

The lookup itself stays Python's own, at full speed; the NameError that ends it is explained when it ends the cell.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LostName:
    """A variable that was there at a checkpoint and isn't after a restore."""

    name: str
    reason: str
    checkpoint: str


class LostNames:
    """What was lost in the latest restore; binding a name again takes it out."""

    def __init__(self) -> None:
        self._lost: dict[str, LostName] = {}

    def remember(self, lost: list[LostName]) -> None:
        """Take the losses of a restore."""
        self._lost = {each.name: each for each in lost}

    def explain(self, exc: BaseException) -> None:
        """Add to a NameError what became of the name, if that is known."""
        seen: set[int] = set()
        current: BaseException | None = exc
        while current is not None and id(current) not in seen:
            seen.add(id(current))
            if isinstance(current, NameError) and current.name in self._lost:
                lost = self._lost[current.name]
                message = f"{current}: it was lost after checkpoint {lost.checkpoint}, since {lost.reason}"
                current.args = (message, *current.args[1:])
            current = current.__cause__ or current.__context__


def describe(exc: BaseException) -> str:
    """Return in one line why something could not be saved or restored."""
    text = str(exc).strip().splitlines()[0] if str(exc).strip() else ""
    return f"{type(exc).__name__}: {text}"[:300] if text else type(exc).__name__
