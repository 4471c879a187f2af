"""Unpatched copies of the standard library modules that the engine uses, made before any cell runs.

Cells share their process with the engine, and test tools replace functions in modules: `unittest.mock` replaces single
attributes, gevent whole groups, freezegun and pyfakefs everything that any loaded module has imported. The modules here
are copies that are not in `sys.modules`, so none of these tools finds them. The functions in a copy are the original
objects. Python code of the standard library (`pathlib`, `shutil`, `threading.Thread`) looks up its own functions in the
patched modules, so the engine doesn't use it: see `read_file` here, and `native_threads` in the session.

This module must be imported before user code runs.
"""

from typing import TYPE_CHECKING, Any, Final

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
    from types import ModuleType

    def _copy(name: str) -> ModuleType:
        copy = ModuleType(f"{__name__}.{name}")
        for each, value in vars(import_module(name)).items():
            if each not in {"__name__", "__spec__", "__loader__"}:
                setattr(copy, each, value)
        return copy

    _io = _copy("io")

    def open_file(*args: Any, **options: Any) -> Any:
        """Open a file. pyfakefs would replace `open` itself wherever it was imported, under whatever name."""
        return _io.open(*args, **options)

    gc, resource, signal, time = map(_copy, ("gc", "resource", "signal", "time"))
    select, socket, threading = map(_copy, ("select", "socket", "threading"))
    os = _copy("os")
    os.path = _copy("posixpath")

__all__ = [
    "gc", "open_file", "os", "read_file", "resource", "select", "signal", "socket", "threading", "time",
]  # fmt: skip

READ_BYTES: Final = 64 * 1024


def read_file(path: str) -> bytes:
    """Return the contents of a file, for example in /proc. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while data := os.read(handle, READ_BYTES):
            parts.append(data)
        return b"".join(parts)
    finally:
        os.close(handle)
