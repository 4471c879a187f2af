"""The clocks as they were before user code: freezegun and its like stop those they find in a module.

They are kept where such tools don't look, as defaults of arguments.
"""

from collections.abc import Callable

from skep_shared.originals import time


def monotonic(*, _read: Callable[[], float] = time.monotonic) -> float:
    """Give seconds that only go forward."""
    return _read()


def perf_counter_ns(*, _read: Callable[[], int] = time.perf_counter_ns) -> int:
    """Give nanoseconds of the finest clock."""
    return _read()


def seconds_since_boot(*, _read: Callable[[int], float] = time.clock_gettime) -> float:
    """Give the clock that the starts of processes are told in."""
    return _read(time.CLOCK_BOOTTIME)


def thread_time(*, _read: Callable[[], float] = time.thread_time) -> float:
    """Return the seconds of processor time that this thread has taken."""
    return _read()
