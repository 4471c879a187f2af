"""Closing what a process has inherited."""

from collections.abc import Iterable
from typing import Final

from skep_workers.sandbox.kernel.system_calls import call

_LAST: Final = 2**31 - 1


def close_all_except(kept: Iterable[int]) -> None:
    """Close every open descriptor that is not among these. Raises OSError."""
    first = 0
    for descriptor in sorted(kept):
        if descriptor > first:
            call("close_range", first, descriptor - 1, 0)
        first = max(first, descriptor + 1)
    call("close_range", first, _LAST, 0)
