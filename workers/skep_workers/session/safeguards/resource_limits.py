"""The limits of a session that the kernel enforces in each of its processes, and errors that are due to them."""

import errno
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from skep_shared.originals import resource

SPARE_DESCRIPTORS: Final = 16  # that the engine can still open when cells have opened all that they may
MOST_CAUSES: Final = 10
_BY_ERROR: Final = {errno.EMFILE: "open_files", errno.EFBIG: "file_bytes"}


class ResourceLimits:
    """The limits of this process, by name."""

    def __init__(self) -> None:
        self._limits: Mapping[str, float] = {}

    def apply(self, limits: Mapping[str, float]) -> None:
        """Set the limits, for this process and its future children. Limits are never raised."""
        self._limits = limits
        if (files := limits.get("open_files")) is not None:
            _lower(resource.RLIMIT_NOFILE, int(files), int(files) + SPARE_DESCRIPTORS)
        if (size := limits.get("file_bytes")) is not None:
            _lower(resource.RLIMIT_FSIZE, int(size), int(size))

    def explain(self, exc: BaseException) -> str:
        """Return which limit an exception, or one that it was caused by, is due to; "" if none is known."""
        if not self._limits:
            return ""
        cause: BaseException | None = exc
        for _ in range(MOST_CAUSES):
            if cause is None:
                break
            name = _BY_ERROR.get(cause.errno or 0, "") if isinstance(cause, OSError) else ""
            if name in self._limits:
                return f"the session's limit {name} is {self._limits[name]:,}"
            cause = cause.__cause__ or cause.__context__
        return ""

    def explain_timeout(self, seconds: float | None) -> str:
        """Return that a timeout is the session's limit for it; "" if it is the cell's own."""
        is_limit = seconds is not None and seconds == self._limits.get("wall_seconds")
        return f"the session's limit wall_seconds is {seconds:g}" if is_limit else ""


def _lower(number: int, soft: int, hard: int) -> None:
    _, highest = resource.getrlimit(number)
    if highest != resource.RLIM_INFINITY:
        soft, hard = min(soft, highest), min(hard, highest)
    with suppress(OSError, ValueError):  # a limit that is already lower remains
        resource.setrlimit(number, (soft, hard))
