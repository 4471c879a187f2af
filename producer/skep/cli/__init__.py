"""The command line: `skep`, and `python -m skep.cli`."""

import os
import sys
from typing import NoReturn

WORKER_COMMAND = "worker"


def main() -> NoReturn:
    """Run the command line and exit with its status."""
    arguments = sys.argv[1:]
    if arguments[:1] == [WORKER_COMMAND]:  # as it is: its flags, and its help, are the worker program's own
        become_worker(arguments[1:])
    from skep.cli.app import run_app  # noqa: PLC0415 - a worker needs none of it

    sys.exit(run_app(arguments))


def become_worker(arguments: list[str]) -> NoReturn:
    """Replace this process by a worker with these arguments."""
    # -P: a file in the working directory must not stand in for a module of ours.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "skep_workers", *arguments])  # noqa: S606
