"""The oracle cell: its result shows exactly which cells have changed the namespace, and in which order.

`h = sha(h + cell_id); n += 1`, m known lines, and the value `(n, h)`. The checker knows nothing else of a cell, so a
soak on real parts runs the same one as the simulation.
"""

from hashlib import sha256

NOTHING: tuple[int, str] = (0, "")


def absorb(state: tuple[int, str], cell_id: str) -> tuple[int, str]:
    """Return the state after the cell."""
    n, h = state
    return n + 1, sha256((h + cell_id).encode()).hexdigest()[:16]


def lines_of(cell_id: str, count: int) -> list[str]:
    """Return what the cell writes."""
    return [f"{cell_id} {line}\n" for line in range(count)]
