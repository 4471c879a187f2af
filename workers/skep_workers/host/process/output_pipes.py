"""The pipes that a session process has as descriptors 1 and 2, as large as the system allows without harm.

C code that prints while it holds the GIL blocks forever once its pipe is full: the process reads its own pipes, and
none of its threads can run to do so. So a pipe holds 1 MiB instead of the usual 64 KiB. Memory is used only for the
bytes in it.

The kernel limits the pages that all pipes of an unprivileged user may take (/proc/sys/fs/pipe-user-pages-soft, mostly
64 MiB). Beyond the limit every new pipe of the user has 8 KiB, ours and those of cells' own programs. So a pipe is
enlarged only if there would still be room for HEADROOM_PIPES more of that size. The kernel does not report how much is
used, so this is tested by making such pipes, which takes 30 us for each session.
"""

import contextlib
import os
from fcntl import fcntl
from typing import Final

PIPE_BYTES: Final = 1024 * 1024
HEADROOM_PIPES: Final = 4
_F_SETPIPE_SZ: Final = 1031  # fcntl(2); Python's module defines it on some systems only
_LARGEST: Final = "/proc/sys/fs/pipe-max-size"


def make_pipe(made: contextlib.ExitStack) -> tuple[int, int]:
    """Return the reading and the writing end of a pipe, to be closed by `made`. Raises OSError."""
    ends = os.pipe2(os.O_CLOEXEC)
    for fd in ends:
        made.callback(os.close, fd)
    return ends


def enlarge(*pipes: int) -> None:
    """Enlarge pipes, each given by one end, to PIPE_BYTES or the largest size allowed; leave them if that can't be."""
    size = min(PIPE_BYTES, _largest())
    with contextlib.suppress(OSError), contextlib.ExitStack() as scratch:
        for _ in range(HEADROOM_PIPES):
            _, end = make_pipe(scratch)
            fcntl(end, _F_SETPIPE_SZ, size)
        for pipe in pipes:
            fcntl(pipe, _F_SETPIPE_SZ, size)


def _largest() -> int:
    try:
        with open(_LARGEST, "rb") as file:  # noqa: PTH123 - this runs for each session
            return int(file.read())
    except (OSError, ValueError):
        return PIPE_BYTES
