"""The files that user code has left open: what it wrote to them must not end with the process.

Found among the objects that the garbage collector knows of, which takes a while in a large process; so it is done only
if the process has a descriptor, besides the engine's, that something can be written to.
"""

from collections.abc import Callable, Container
from contextlib import suppress
from io import FileIO, IOBase, TextIOWrapper
from typing import Any, Final

from skep_shared.originals import gc, os

_BASE: Final = IOBase.__base__  # the type in C: asking it for subclasses runs no code of metaclasses


def has_writable(own: Container[int]) -> bool:
    """Return whether the process has a descriptor, besides its `own`, that is open for writing."""
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
    """Flush what is open, wrappers before what they wrap. `attempt` calls a function, whatever that raises."""
    for file in _open_files():
        attempt(file.flush)


def close_files(attempt: Callable[[Callable[[], Any]], None]) -> None:
    """Close what is open, as the end of the process would: a compressed file, for one, gets its last bytes then."""
    for file in _open_files():
        attempt(file.close)


def _open_files() -> list[Any]:
    is_file: dict[type, bool] = {}
    found = []
    for each in gc.get_objects():
        kind = type(each)
        if kind not in is_file:
            is_file[kind] = _BASE in kind.__mro__
        if is_file[kind]:
            found.append(each)
    return sorted(found, key=lambda file: _depth(type(file)))


def _depth(kind: type) -> int:
    """Return the place of a kind of file in the order: text, wrappers written in Python, buffers, descriptors."""
    if issubclass(kind, TextIOWrapper):
        return 0
    if kind.__module__ not in {"_io", "io"}:
        return 1
    return 3 if issubclass(kind, FileIO) else 2
