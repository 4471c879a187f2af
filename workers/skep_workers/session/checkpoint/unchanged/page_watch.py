"""Find out which pages of this process's memory were written: the kernel records it, for chosen ranges.

Linux from 6.7 on: userfaultfd with asynchronous write protection, read by the ioctl PAGEMAP_SCAN. The first write to a
protected page takes a fault. The kernel resolves it by itself (about a microsecond) and records it; no thread is woken.
A page counts as clean only if the kernel reports that it is private memory of this process, present, protected by us,
and not written since. Any other change makes it dirty: a page that was unmapped and mapped again, moved, grown, freed
(MADV_DONTNEED) or that belongs to a file is either not protected or not present. Writes that the kernel makes for a
system call fault like the program's own writes. Forked children have copies, which aren't protected.

A device that writes into memory which was pinned before causes no fault: asynchronous direct I/O, RDMA, a GPU.
`may_miss_writes` returns whether that is possible.

Things that don't work:

- Finding the clean pages first and protecting the written ones afterwards. A write between the two steps would be
  protected without being seen. So the written pages are collected and protected in one step; the clean pages are those
  that a second scan finds protected and present, except the ones of the first.
- Taking "not written" alone for clean. Memory that was freed and read again is present and holds zeros; memory that
  another mapping replaced has not been written either. Only pages that are ours, private, present or swapped count.
- Trusting a kernel because it has the system calls. One missed write is a wrong checkpoint, so `_check_kernel` tries
  all of this on four pages first, and any other answer than the expected one means that there is no watch.
- Watching every large buffer. A buffer that is rewritten between snapshots takes a fault for each page and has to be
  hashed all the same; see `unchanged_buffers` for when a buffer is watched.
"""

import contextlib
import ctypes
import mmap
import platform
import struct
from collections.abc import Iterator
from fcntl import ioctl
from typing import Final, Self

from skep_shared.originals import os, read_file

PAGE: Final = mmap.PAGESIZE
MOST_REGIONS: Final = 4096  # that one scan returns; memory in smaller pieces is cheaper to hash as a whole

_SYSCALL: Final = {"x86_64": 323, "aarch64": 282}
_USER_MODE_ONLY: Final = 1  # all that is allowed without privileges
_UFFD_API: Final = 0xAA
_WP_UNPOPULATED: Final = 1 << 13
_WP_ASYNC: Final = 1 << 15
_MODE_WP: Final = 1 << 1
_IOCTL_API: Final = 0xC018AA3F
_IOCTL_REGISTER: Final = 0xC020AA00
_IOCTL_UNREGISTER: Final = 0x8010AA01
_IOCTL_SCAN: Final = 0xC0606610
_PROTECT_MATCHING: Final = 1 << 0
_CHECK_ASYNC: Final = 1 << 1
_IS_ALLOWED: Final = 1 << 0
_IS_WRITTEN: Final = 1 << 1
_IS_FILE: Final = 1 << 2
_IS_PRESENT: Final = 1 << 3
_IS_SWAPPED: Final = 1 << 4
_SCAN_ARGUMENT: Final = struct.Struct("12Q")  # see linux/fs.h, struct pm_scan_arg
_REGION_WORDS: Final = 3  # start, end, categories
_DEVICES: Final = ("/dev/nvidiactl", "/dev/kfd", "/dev/dri", "/dev/accel", "/dev/infiniband", "/dev/vfio/vfio")

Range = tuple[int, int]  # addresses: first, and after the last


class PageWatch:
    """Protects ranges of this process's memory, and finds the pages that were not written."""

    def __init__(self) -> None:
        """Raise OSError where the kernel can't watch pages, or must not."""
        number = _SYSCALL.get(platform.machine())
        if number is None or any(map(os.path.exists, _DEVICES)):
            raise OSError("not on this machine")
        fault = ctypes.CDLL(None, use_errno=True).syscall(number, os.O_CLOEXEC | os.O_NONBLOCK | _USER_MODE_ONLY)
        if fault < 0:
            raise OSError(ctypes.get_errno(), "userfaultfd")
        self._fault: int = fault
        self._map = -1
        self._found = (ctypes.c_uint64 * (_REGION_WORDS * MOST_REGIONS))()
        try:
            ioctl(self._fault, _IOCTL_API, struct.pack("3Q", _UFFD_API, _WP_ASYNC | _WP_UNPOPULATED, 0))
            self._map = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
            self._check_kernel()
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls) -> Self | None:
        """Return a new watch, or None where the kernel can't provide one."""
        try:
            return cls()
        except OSError:
            return None

    def protect(self, pages: Range) -> None:
        """Start watching these pages. Raises OSError."""
        start, end = pages
        ioctl(self._fault, _IOCTL_REGISTER, struct.pack("4Q", start, end - start, _MODE_WP, 0))
        self._scan(pages, _PROTECT_MATCHING | _CHECK_ASYNC, mask=_IS_WRITTEN)

    def release(self, pages: Range) -> None:
        """Stop watching these pages."""
        start, end = pages
        with contextlib.suppress(OSError):  # they may be gone
            ioctl(self._fault, _IOCTL_UNREGISTER, struct.pack("2Q", start, end - start))

    def clean_ranges(self, pages: Range) -> list[Range]:
        """Return those of these pages that were not written since the last call, or since they were protected.

        All of them are protected again. Raises OSError if not all of them are watched, or if the result would have more
        than MOST_REGIONS ranges.
        """
        # First the written pages, which are protected again in the same step; later writes count for the next call.
        # Then the certainly clean pages: neither written nor absent.
        written = self._scan(pages, _PROTECT_MATCHING | _CHECK_ASYNC, mask=_IS_WRITTEN)
        still = self._scan(
            pages,
            _CHECK_ASYNC,
            mask=_IS_ALLOWED | _IS_WRITTEN | _IS_FILE,
            inverted=_IS_WRITTEN | _IS_FILE,
            any_of=_IS_PRESENT | _IS_SWAPPED,
        )
        return list(_without(still, written))

    @property
    def descriptors(self) -> set[int]:
        """Return the open file descriptors."""
        return {self._fault, self._map}

    def close(self) -> None:
        """Close the descriptors, which ends all protection."""
        for fd in (self._fault, self._map):
            if fd >= 0:
                os.close(fd)

    def _scan(self, pages: Range, flags: int, *, mask: int, inverted: int = 0, any_of: int = 0) -> list[Range]:
        """Return the ranges of matching pages."""
        start, end = pages
        vector = ctypes.addressof(self._found)
        argument = bytearray(
            _SCAN_ARGUMENT.pack(
                _SCAN_ARGUMENT.size, flags, start, end, 0, vector, MOST_REGIONS, 0, inverted, mask, any_of, mask
            )
        )
        count = ioctl(self._map, _IOCTL_SCAN, argument)
        walked_to = _SCAN_ARGUMENT.unpack(argument)[4]
        if walked_to < end:
            raise OSError(f"more than {MOST_REGIONS} pieces")
        words = self._found[: count * _REGION_WORDS]
        return list(zip(words[0::_REGION_WORDS], words[1::_REGION_WORDS], strict=True))

    def _check_kernel(self) -> None:
        """Check on memory of our own that the kernel behaves as described above. Raises OSError."""
        with mmap.mmap(-1, 4 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory.write(b"\1" * (3 * PAGE))  # the last page stays absent
            start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
            pages = (start, start + 4 * PAGE)
            self.protect(pages)
            found = [self.clean_ranges(pages)]
            memory[PAGE] = 2
            found.append(self.clean_ranges(pages))
            memory.madvise(mmap.MADV_DONTNEED, 2 * PAGE, PAGE)
            found.append(self.clean_ranges(pages))
            memory[2 * PAGE]  # reading makes the page present again, as zeros
            found.append(self.clean_ranges(pages))
            self.release(pages)
        page = [start + number * PAGE for number in range(5)]
        whole = [(page[0], page[4])]
        expected = [whole, [(page[0], page[1]), (page[2], page[4])], [(page[0], page[2]), (page[3], page[4])], whole]
        if found != expected:
            raise OSError("the kernel reports other written pages than expected")


def may_miss_writes() -> bool:
    """Return whether devices may write into memory of this process that was pinned before it was protected."""
    try:
        status = read_file("/proc/self/status")
        pinned = status.partition(b"VmPin:")[2].split(maxsplit=1)
        if not pinned or pinned[0] != b"0":
            return True
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):
                if "io_uring" in os.readlink(f"/proc/self/fd/{name}"):
                    return True
        if read_file("/proc/sys/fs/aio-nr").strip() == b"0":
            return False
        return b"[aio]" in read_file("/proc/self/maps")
    except OSError:
        return True


def _without(ranges: list[Range], holes: list[Range]) -> Iterator[Range]:
    """Yield the parts of the ranges outside the holes; both are in order."""
    index = 0
    for start, end in ranges:
        while index < len(holes) and holes[index][1] <= start:
            index += 1
        at, place = start, index
        while place < len(holes) and holes[place][0] < end:
            if holes[place][0] > at:
                yield at, holes[place][0]
            at = max(at, holes[place][1])
            place += 1
        if at < end:
            yield at, end
