"""Flushes and closes the files that user code has left open, so that buffered data isn't lost with the process.

The files are found among all objects of the garbage collector, which takes a while in a large process. So this is only
done if the process has a writable descriptor besides the engine's.
"""

from collections.abc import Callable, Container
from contextlib import suppress
from io import FileIO, IOBase, TextIOWrapper
from typing import Any, Final

from skep_shared.originals import os
from skep_workers.session.runtime.live_objects import instances_of

_BASE: Final[Any] = IOBase.__base__  # the type in C, for which no code of metaclasses runs


def has_writable(own: Container[int]) -> bool:
    """Return whether the process has a descriptor that is open for writing and isn't in `own`."""
    for name in os.listdir("/proc/self/fdinfo"):
        with suppress(OSError, StopIteration, ValueError):
            if int(name) not in own:
                info = os.open(f"/proc/self/fdinfo/{name}", os.O_RDONLY | os.O_CLOEXEC)  # user code may patch open()
                try:
                    flags = next(line for line in os.read(info, 4096).splitlines() if line.startswith(b"flags:"))
                finally:
                    os.close(info)
                if int(flags.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY:
                    return True
    return False


def flush_files(attempt: Callable[[Callable[[], Any]], None]) -> None:
    """Flush all open files, wrappers before what they wrap. `attempt` calls a function and suppresses its errors."""
    for file in _open_files():
        attempt(file.flush)


def close_files(attempt: Callable[[Callable[[], Any]], None]) -> None:
    """Close all open files, as the end of a process does: a compressed file, for example, gets its last bytes then."""
    for file in _open_files():
        attempt(file.close)


def _open_files() -> list[Any]:
    return sorted(instances_of(_BASE), key=lambda file: _depth(type(file)))


def _depth(kind: type) -> int:
    """Return the position of a type of file in the order: text, wrappers written in Python, buffers, descriptors."""
    if issubclass(kind, TextIOWrapper):
        return 0
    if kind.__module__ not in {"_io", "io"}:
        return 1
    return 3 if issubclass(kind, FileIO) else 2
