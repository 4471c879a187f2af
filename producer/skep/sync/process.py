"""The background loop of this process: started at its first use, replaced in a fork, ended with the interpreter."""

import atexit
import contextlib
import os
import threading
from typing import Final

from skep.sync.background import BackgroundLoop

EXIT_SECONDS: Final = 15.0  # for clients that were left open: an embedded cluster stops its workers in this time


class _Process:
    """What this process has. A fork gets a new one: a lock that another thread holds at that moment stays behind."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.background: BackgroundLoop | None = None
        self.forking = threading.Lock()


_process = _Process()


def background() -> BackgroundLoop:
    """Return the loop of this process."""
    process = _this_process()
    found = process.background
    if found is None:
        with process.lock:
            found = process.background = process.background or BackgroundLoop()
    return found


def _this_process() -> _Process:
    if _process.pid != os.getpid():  # forked by C code that Python was not aware of
        _after_in_child()
    return _process


def _before_fork() -> None:
    _process.forking.acquire()  # one fork at a time stops the loop
    if _process.background is not None:
        _process.background.pause()


def _after_in_parent() -> None:
    if _process.background is not None:
        _process.background.resume()
    _process.forking.release()


def _after_in_child() -> None:
    global _process
    left, _process = _process.background, _Process()
    if left is not None:
        left.leave_to_parent()


def _at_exit() -> None:
    found = _this_process().background
    if found is not None:
        with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C: leave now
            found.close(EXIT_SECONDS)


os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
atexit.register(_at_exit)
