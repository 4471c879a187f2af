"""Limits of what no session needs. Memory, processor time and the number of processes are not limited here."""

import resource
from contextlib import suppress
from typing import Final

# Core files would contain the session's memory. Real-time priority and negative niceness would starve other sessions.
_ZERO: Final = ("RLIMIT_CORE", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO")


def limit_resources() -> None:
    """Set the limits for this process and its descendants, who can't raise them again."""
    for name in _ZERO:
        number = getattr(resource, name, None)
        if number is not None:
            with suppress(OSError):  # gVisor doesn't have all of them
                resource.setrlimit(number, (0, 0))
