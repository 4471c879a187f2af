"""The clocks as they were before user code ran: freezegun and similar tools replace clocks in each module.

They are stored as defaults of arguments, which such tools don't search.
"""

from collections.abc import Callable

from skep_shared.originals import time


def monotonic(*, _read: Callable[[], float] = time.monotonic) -> float:
    """Return seconds of a clock that never goes backward."""
    return _read()


def perf_counter_ns(*, _read: Callable[[], int] = time.perf_counter_ns) -> int:
    """Return nanoseconds of the clock with the highest resolution."""
    return _read()


def seconds_since_boot(*, _read: Callable[[int], float] = time.clock_gettime) -> float:
    """Return seconds since boot, the clock in which the kernel reports the starts of processes."""
    return _read(time.CLOCK_BOOTTIME)


def thread_time(*, _read: Callable[[], float] = time.thread_time) -> float:
    """Return the seconds of processor time that this thread has used."""
    return _read()
