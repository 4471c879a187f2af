"""Whose output a thread's is: that of the cell that started the thread, as a task's is that of its cell."""

import threading
from collections.abc import Callable
from typing import Any

from skep_workers.session.writer import current_writer


def install_thread_hook(on_start: Callable[[], None]) -> None:
    """Have every thread that is started from now on begin with its starter's cell; `on_start` is called before.

    Python hands context variables to new threads only from 3.14 on, and not in every build. The start is wrapped, not
    the thread's `run`, so that subclasses which override it are seen too.
    """
    start = threading.Thread.start
    bootstrap: Callable[..., Any] = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]  # noqa: SLF001

    def start_of_cell(thread: threading.Thread) -> None:
        thread._skep_writer = current_writer.get()  # type: ignore[attr-defined]  # noqa: SLF001 - ours
        on_start()
        start(thread)

    def bootstrap_of_cell(thread: threading.Thread) -> None:
        writer = getattr(thread, "_skep_writer", None)
        if writer is not None:
            current_writer.set(writer)
        bootstrap(thread)

    threading.Thread.start = start_of_cell  # type: ignore[method-assign, assignment]
    threading.Thread._bootstrap_inner = bootstrap_of_cell  # type: ignore[attr-defined]  # noqa: SLF001
