"""Output of a thread belongs to the cell that started the thread, as a task's output belongs to its cell."""

import threading
from collections.abc import Callable
from typing import Final

from skep_workers.session.attribution.writer import current_writer
from skep_workers.session.safeguards.private_names import private

_bootstrap: Final[Callable[[threading.Thread], object] | None] = private(
    threading.Thread, "_bootstrap_inner", None, "output of threads belongs to no cell"
)


def install_thread_hook(on_start: Callable[[], None]) -> None:
    """Attribute every thread that is started from now on to its starter's cell. `on_start` is called before each start.

    Python passes context variables to new threads only from 3.14 on, and not in every build. The start is wrapped, and
    not the thread's `run`, since subclasses override `run`.
    """
    start = threading.Thread.start

    def start_of_cell(thread: threading.Thread) -> None:
        thread._skep_writer = current_writer.get()  # type: ignore[attr-defined]  # noqa: SLF001 - ours
        on_start()
        start(thread)

    def bootstrap_of_cell(thread: threading.Thread) -> None:
        writer = getattr(thread, "_skep_writer", None)
        if writer is not None:
            current_writer.set(writer)
        assert _bootstrap is not None  # noqa: S101 - otherwise this isn't installed
        _bootstrap(thread)

    threading.Thread.start = start_of_cell  # type: ignore[method-assign, assignment]
    if _bootstrap is not None:
        threading.Thread._bootstrap_inner = bootstrap_of_cell  # type: ignore[attr-defined]  # noqa: SLF001
