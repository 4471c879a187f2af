"""The layout of a shard's data: a number for the names of its keys, the contents of their entries, and the scripts.

A version of skep that would misread another version's data has another number. The first worker of a shard writes its
own into `P:shard`; clients and workers of another number are refused there when they start. A client that connects
before any worker of the shard has ever started finds no number, and is not checked.
"""

from typing import Final

from skep_shared.errors import RedisUnsuitable

LAYOUT: Final = 1


def layout_mismatch(prefix: str, stored: bytes | None) -> RedisUnsuitable:
    """Return the error for a shard whose data has another layout; None: it was written before there was a number."""
    remedy = (
        "another version of skep has written it. Install the same version for all clients and workers of this prefix, "
        "or set another SKEP_PREFIX"
    )
    found = "unnumbered" if stored is None else stored.decode("ascii", "replace")
    return RedisUnsuitable(f"data layout of {prefix}:*", found, f"layout {LAYOUT}", remedy)
