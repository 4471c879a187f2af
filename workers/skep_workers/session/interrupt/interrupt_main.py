"""A `_thread.interrupt_main` that, called from another thread, also ends a blocking call of the main thread.

The interpreter's own function only marks the signal as pending: a sleep, a read or a wait in C continues until it ends
by itself. Code that limits a call by `threading.Timer(1, _thread.interrupt_main)` expects it to end at that time.
"""

import _thread
from _thread import get_ident, interrupt_main  # bound early: the module's function is replaced below
from typing import Any

from skep_shared.originals import signal, threading


def install_interrupt_main() -> None:
    """Replace the function, in the process that session processes are forked from."""

    def interrupt_main_now(signum: Any = signal.SIGINT, /) -> None:
        """Simulate the arrival of the given signal in the main thread, and end its blocking call."""
        main_thread = threading.main_thread().ident  # after a fork by another thread, that thread is the main one
        if main_thread is None or get_ident() == main_thread or not callable(signal.getsignal(signum)):
            interrupt_main(signum)
        else:
            signal.pthread_kill(main_thread, signum)

    interrupt_main_now.__name__ = interrupt_main_now.__qualname__ = "interrupt_main"
    interrupt_main_now.__module__ = "_thread"  # the name by which checkpoints save it
    _thread.interrupt_main = interrupt_main_now
