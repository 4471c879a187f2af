"""What the engine uses of the standard library, as it was before any cell ran.

Cells share their process with the engine, and test tools replace what they find in modules: `unittest.mock` an
attribute, gevent whole families of them, freezegun and pyfakefs whatever any loaded module has imported. The modules
here are copies that `sys.modules` doesn't have, so that none of these tools finds them; what a copy holds are the
functions themselves. Python code of the standard library (`pathlib`, `shutil`, `threading.Thread`) looks its own
helpers up in the patched modules again, which is why the engine does without it: see `read_file` here, and
`native_threads` in the session.

This module has to be imported before user code runs.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import gc
    import os
    import resource
    import select
    import signal
    import socket
    import threading
    import time
    from io import open as open_file
else:
    from importlib import import_module
    from io import open as open_file
    from types import ModuleType

    def _copy(name: str) -> ModuleType:
        copy = ModuleType(f"{__name__}.{name}")
        for each, value in vars(import_module(name)).items():
            if each not in {"__name__", "__spec__", "__loader__"}:
                setattr(copy, each, value)
        return copy

    gc, resource, signal, time = map(_copy, ("gc", "resource", "signal", "time"))
    select, socket, threading = map(_copy, ("select", "socket", "threading"))
    os = _copy("os")
    os.path = _copy("posixpath")

__all__ = [
    "gc", "open_file", "os", "read_file", "resource", "select", "signal", "socket", "threading", "time",
]  # fmt: skip

READ_BYTES: Final = 64 * 1024


def read_file(path: str) -> bytes:
    """Return what a file of /proc or the like holds. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while data := os.read(handle, READ_BYTES):
            parts.append(data)
        return b"".join(parts)
    finally:
        os.close(handle)
