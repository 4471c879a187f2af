"""What libraries keep for the process that imported them, and what each session has to have for itself.

Preloaded modules were imported by the zygote, and all its forks would share what they drew or noted then; a live fork
would share it with its origin. The standard library renews most of it itself: `random` is seeded again in every fork,
temporary names and UUIDs are drawn from the system, OpenSSL notes a fork.
"""

import contextlib
import sys
from typing import Any, Final

from skep_shared.originals import gc, os
from skep_shared.orphans import children_of
from skep_shared.process_trees import kill_tree, process_id, wait_for_end

AUTHKEY_BYTES: Final = 32
END_SECONDS: Final = 2.0


def renew_process_state(home: str) -> None:
    """Give this fork state of its own, as if it had imported everything itself in this directory.

    Before anything is noted as the state that a session begins with.
    """
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.ORIGINAL_DIR = home  # what spawned children have in the place of "" in sys.path
        process.current_process().authkey = os.urandom(AUTHKEY_BYTES)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    torch = sys.modules.get("torch")
    generator = getattr(torch, "default_generator", None)
    if generator is not None:
        generator.seed()


def end_helper_processes() -> None:
    """End the processes that preloaded modules have started in the zygote: sessions can't share them.

    Each session starts its own where it needs one, as multiprocessing does with its resource tracker.
    """
    pids = children_of(os.getpid())
    if not pids:
        return
    print(f"preloading has started processes, which are ended: {pids}", file=sys.stderr)
    tracking = sys.modules.get("multiprocessing.resource_tracker")
    forking = sys.modules.get("multiprocessing.forkserver")
    kinds = {getattr(tracking, "ResourceTracker", None), getattr(forking, "ForkServer", None)} - {None}
    for helper in [each for each in gc.get_objects() if kinds & set(type(each).__mro__)]:
        # It would otherwise warn in a cell that its process has died. There is no public way.
        helper._stop()  # noqa: SLF001
    for pid in children_of(os.getpid()):
        child = process_id(pid)
        if child is not None:
            wait_for_end(kill_tree(child), END_SECONDS)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
