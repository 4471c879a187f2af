"""Measures what a session uses of the limits that the kernel does not enforce.

Things that don't work:
- Reading the proportional memory each time: the kernel walks through all pages for it. So the resident memory, which is
  never smaller, is compared first, and costs nothing.
- Looking through the directory of a session that does nothing: nothing can change there while its processes have used
  no processor time.
- Measuring all processes when a cell starts, to know what it begins with: a look into /proc takes 40 to 200 µs, which
  was most of what limits cost in a cell of a millisecond. So a cell's processor time counts from the first look on.
- Looking through a small directory in a thread: handing it over takes longer than looking.
"""

import asyncio
import time
from pathlib import Path
from typing import Final

from skep_shared.isolation.session_limits import Excess, Limits
from skep_workers.host.limits.directory_size import DirectorySize, measure_directory
from skep_workers.host.limits.process_tree import MainChildren, TreeUsage, cpu_clock, measure_tree, proportional_bytes

SCAN_WAIT_SECONDS: Final = 0.005  # for a look at the directory, before its result is left to the next measurement
LONG_SECONDS: Final = 0.005  # measuring many processes must not block the worker's loop
SMALL_ENTRIES: Final = 12  # of a directory that is looked through at once
SHARE: Final = 20  # of the time, one part is for measuring
QUIET_CPU_SECONDS: Final = 0.025  # a process that has used less can't have taken much memory or disk space
QUIET_SECONDS: Final = 1.0  # after that, it is measured in any case
NEAR_SHARE: Final = 0.5  # of a limit; a session that uses more is never quiet
NOTHING: Final = DirectorySize(0, 0)


class SessionMeter:
    """What one session uses, as of the latest measurement."""

    def __init__(self, limits: Limits, directory: Path) -> None:
        self._limits = limits
        self._directory = directory
        self._pid = 0  # of the process that the figures below are of
        self._cpu_before: float | None = None  # used before the latest cell started; None before the first one
        self._has_children = False  # or had some
        self._children = MainChildren()
        self._measured_at, self._clock_at, self._share = 0.0, 0.0, 0.0
        self._cpu_scanned = -1.0
        self._size = NOTHING
        self._scan: asyncio.Future[DirectorySize] | None = None
        self._scan_at = 0.0  # when it began, otherwise when the next one is due
        self._took_seconds = 0.0  # for the latest measurement of the processes
        self._measures_files = limits.workspace_bytes is not None or limits.workspace_files is not None
        measured = ("memory_bytes", "cpu_seconds", "processes")
        self._measured = frozenset(name for name in measured if getattr(limits, name) is not None)

    @property
    def has_limits(self) -> bool:
        """Return whether there is anything to measure where the kernel enforces nothing."""
        return self._measures_files or bool(self._measured)

    def measures_more_than(self, enforced: frozenset[str]) -> bool:
        """Return whether there are limits other than those that the kernel enforces."""
        return self._measures_files or not self._measured <= enforced

    @property
    def pause_seconds(self) -> float:
        """How long not to measure, so that measuring takes at most a twentieth of one processor."""
        return SHARE * self._took_seconds

    def begin_cell(self, pid: int) -> None:
        """Count the processor time of a new cell from now on."""
        if self._limits.cpu_seconds is not None:
            self._use(pid)
            self._cpu_before = measure_tree(pid).cpu_seconds if self._has_children else cpu_clock(pid)

    def record_look(self, pid: int) -> None:
        """Record that the session was looked at, without measuring it."""
        self._use(pid)
        self._measured_at, self._clock_at = time.monotonic(), cpu_clock(pid)

    def close(self) -> None:
        """Stop measuring."""
        self._children.close()

    def is_quiet(self, pid: int) -> bool:
        """Return whether the process has done so little since the latest look that none is needed yet."""
        return (
            pid == self._pid
            and not self._has_children
            and self._share < NEAR_SHARE
            and time.monotonic() < self._measured_at + QUIET_SECONDS
            and cpu_clock(pid) < self._clock_at + QUIET_CPU_SECONDS
            and not self._children.has_any()
        )

    async def measure(self, pid: int, enforced: frozenset[str]) -> tuple[Excess | None, float]:
        """Return the limit that is exceeded, if any, and the largest used share of a limit.

        `enforced`: limits that the kernel enforces.
        """
        limits, now = self._limits, time.monotonic()
        self._use(pid)
        self._measured_at, self._clock_at = now, cpu_clock(pid)
        if self._took_seconds < LONG_SECONDS:
            usage = measure_tree(pid, limits.processes)
        else:
            usage = await asyncio.to_thread(measure_tree, pid, limits.processes)
        if usage.has_children and not self._has_children:
            self._has_children = True
            if self._cpu_before is not None:  # what children have used until now may have been for an earlier cell
                self._cpu_before += max(0.0, usage.cpu_seconds - cpu_clock(pid))
        figures: list[tuple[str, float, float | None]] = []
        if "processes" not in enforced:
            figures.append(("processes", usage.processes, limits.processes))
        if "memory_bytes" not in enforced:
            figures.append(("memory_bytes", await self._memory_of(usage), limits.memory_bytes))
        self._took_seconds = time.monotonic() - now
        if self._cpu_before is not None:
            figures.append(("cpu_seconds", round(usage.cpu_seconds - self._cpu_before, 2), limits.cpu_seconds))
        if self._measures_files:
            size = await self._size_of_directory(usage, now)
            figures.append(("workspace_bytes", size.used_bytes, limits.workspace_bytes))
            figures.append(("workspace_files", size.entries, limits.workspace_files))
        shares = [(used / limit, Excess(name, used, limit)) for name, used, limit in figures if limit is not None]
        self._share, excess = max(shares, key=lambda pair: pair[0], default=(0.0, None))
        return (excess if self._share > 1 else None), self._share

    def _use(self, pid: int) -> None:
        """Forget what an earlier process has used."""
        if pid == self._pid:
            return
        self._pid, self._cpu_before, self._cpu_scanned, self._has_children = pid, None, -1.0, False
        self._measured_at = 0.0
        self._children.watch(pid)
        self._size, self._scan, self._scan_at = NOTHING, None, 0.0

    async def _size_of_directory(self, usage: TreeUsage, now: float) -> DirectorySize:
        """Return what the latest complete look has found; begin the next one when it is due.

        A look that takes long is made in a thread, and does not delay the other measurements.
        """
        if self._scan is None and usage.cpu_seconds != self._cpu_scanned and now >= self._scan_at:
            self._cpu_scanned, limits = usage.cpu_seconds, self._limits
            if self._size.entries <= SMALL_ENTRIES:
                size = measure_directory(self._directory, limits.workspace_bytes, SMALL_ENTRIES)
                if size.entries <= SMALL_ENTRIES:
                    self._size = size
                    return size
            self._scan_at = now
            self._scan = asyncio.get_running_loop().run_in_executor(
                None, measure_directory, self._directory, limits.workspace_bytes, limits.workspace_files
            )
        if self._scan is not None:
            await asyncio.wait({self._scan}, timeout=SCAN_WAIT_SECONDS)
            if self._scan.done():
                self._size, self._scan = self._scan.result(), None
                self._scan_at += (SHARE + 1) * (time.monotonic() - self._scan_at)
        return self._size

    async def _memory_of(self, usage: TreeUsage) -> int:
        """Return the memory, with shared pages counted in full unless that exceeds the limit."""
        limit = self._limits.memory_bytes
        if limit is None or usage.resident_bytes <= limit:
            return usage.resident_bytes
        return await asyncio.to_thread(proportional_bytes, usage.pids)
