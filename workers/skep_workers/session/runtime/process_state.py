"""State that libraries keep per process, and that each session needs for itself.

The zygote imported the preloaded modules, and all its forks would share their random state and other values; a live
fork would share them with its origin. The standard library renews most of them itself: `random` is seeded again in
every fork, temporary names and UUIDs come from the system, and OpenSSL detects a fork.
"""

import contextlib
import sys
from typing import Any, Final

from skep_shared.originals import os
from skep_shared.process_trees import kill_tree, process_id, wait_for_end
from skep_shared.protocol.orphans import children_of
from skep_workers.session.runtime.live_objects import instances_of

AUTHKEY_BYTES: Final = 32
END_SECONDS: Final = 2.0


def renew_process_state(home: str) -> None:
    """Renew the state of this fork, as if it had imported all modules itself in this directory.

    Must be called before the initial state of the session is recorded.
    """
    set_original_directory(home)
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.current_process().authkey = os.urandom(AUTHKEY_BYTES)
        # Its directory for sockets, which ends with the process that made it, and is closed to sessions in a sandbox.
        getattr(process.current_process(), "_config", {}).pop("tempdir", None)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    torch = sys.modules.get("torch")
    generator = getattr(torch, "default_generator", None)
    if generator is not None:
        generator.seed()


def set_original_directory(directory: str) -> None:
    """Set the directory in which cells begin: it replaces "" in the `sys.path` of spawned children."""
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.ORIGINAL_DIR = directory


def end_helper_processes() -> None:
    """End the processes that preloaded modules have started in the zygote, because sessions can't share them.

    Each session starts its own when needed, as multiprocessing does with its resource tracker.
    """
    pids = children_of(os.getpid())
    if not pids:
        return
    print(f"preloaded modules have started processes, which are ended now: {pids}", file=sys.stderr)
    tracking = sys.modules.get("multiprocessing.resource_tracker")
    forking = sys.modules.get("multiprocessing.forkserver")
    kinds: set[Any] = {getattr(tracking, "ResourceTracker", None), getattr(forking, "ForkServer", None)} - {None}
    for helper in [each for kind in kinds for each in instances_of(kind)]:
        # Otherwise it would warn in a cell that its process has died. There is no public function for this.
        getattr(helper, "_stop", lambda: None)()
    for pid in children_of(os.getpid()):
        child = process_id(pid)
        if child is not None:
            wait_for_end(kill_tree(child), END_SECONDS)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
