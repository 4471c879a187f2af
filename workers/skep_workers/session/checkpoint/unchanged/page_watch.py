"""Which pages of this process's memory were written: the kernel notes it, for ranges that were asked for.

Linux from 6.7 on: userfaultfd with asynchronous write protection, read by the ioctl PAGEMAP_SCAN. The first write to a
protected page takes a fault, which the kernel serves by itself (about a microsecond), and is noted; nobody is woken.
A page counts as clean only if the kernel says of it that it is private memory of this process, there, protected by us,
and not written since. Whatever else has become of it makes it dirty: memory that was unmapped and mapped again, moved,
grown, given back (MADV_DONTNEED) or is a file's is not protected, or not there. What the kernel writes for a system
call faults as the program's own writes do. Children that are forked have copies, which aren't protected.

What no fault tells is a device that writes into memory which was pinned before: asynchronous direct I/O, RDMA, a GPU.
`may_miss_writes` says when there may be such a thing.
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
MOST_REGIONS: Final = 4096  # that one scan tells; memory in smaller pieces is better looked at as a whole

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

Range = tuple[int, int]  # addresses: first, and behind the last


class PageWatch:
    """Protects ranges of this process's memory and tells what was written there."""

    def __init__(self) -> None:
        """Raises OSError where the kernel can't, or mayn't."""
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
            self._try()
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls) -> Self | None:
        """Give one, or None where there can't be any."""
        try:
            return cls()
        except OSError:
            return None

    def protect(self, pages: Range) -> None:
        """Watch these pages from now on. Raises OSError."""
        start, end = pages
        ioctl(self._fault, _IOCTL_REGISTER, struct.pack("4Q", start, end - start, _MODE_WP, 0))
        self._scan(pages, _PROTECT_MATCHING | _CHECK_ASYNC, mask=_IS_WRITTEN)

    def release(self, pages: Range) -> None:
        """Watch these pages no longer."""
        start, end = pages
        with contextlib.suppress(OSError):  # they may be gone
            ioctl(self._fault, _IOCTL_UNREGISTER, struct.pack("2Q", start, end - start))

    def clean(self, pages: Range) -> list[Range]:
        """Give which of these pages were not written since the last call, or since they were protected.

        From now on they are all protected again. Raises OSError if they are not watched as a whole, or are too many
        pieces to tell.
        """
        # First what was written, which is protected again in the same step; what is written from here on comes next
        # time. Then what is certainly clean: neither of those, nor absent.
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
        """Give the descriptors that it holds."""
        return {self._fault, self._map}

    def close(self) -> None:
        """Give the descriptors back; nothing is protected any more."""
        for fd in (self._fault, self._map):
            if fd >= 0:
                os.close(fd)

    def _scan(self, pages: Range, flags: int, *, mask: int, inverted: int = 0, any_of: int = 0) -> list[Range]:
        """Give the ranges of the pages that match."""
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

    def _try(self) -> None:
        """Make sure that it does what is said above. Raises OSError."""
        with mmap.mmap(-1, 4 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory.write(b"\1" * (3 * PAGE))  # the last page is not there
            start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
            pages = (start, start + 4 * PAGE)
            self.protect(pages)
            told = [self.clean(pages)]
            memory[PAGE] = 2
            told.append(self.clean(pages))
            memory.madvise(mmap.MADV_DONTNEED, 2 * PAGE, PAGE)
            told.append(self.clean(pages))
            memory[2 * PAGE]  # read, and so there again, as zeros
            told.append(self.clean(pages))
            self.release(pages)
        page = [start + number * PAGE for number in range(5)]
        whole = [(page[0], page[4])]
        expected = [whole, [(page[0], page[1]), (page[2], page[4])], [(page[0], page[2]), (page[3], page[4])], whole]
        if told != expected:
            raise OSError("the kernel's account of written pages isn't what is expected")


def may_miss_writes() -> bool:
    """Tell whether devices may write into memory of this process that was pinned before it was protected."""
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
    """Yield what is left of ranges beside the holes; both are in order."""
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
