"""The command line: `skep` (see skep_command), and `python -m skep.cli`."""

import os
import sys
from typing import NoReturn

from skep.local.extras import check_extra
from skep_shared.errors import StartError

WORKER_COMMAND = "worker"


def main() -> NoReturn:
    """Run the command line and exit with its status."""
    arguments = sys.argv[1:]
    if arguments[:1] == [WORKER_COMMAND]:  # unparsed: its flags and its help are the worker program's own
        become_worker(arguments[1:])
    try:
        from skep.cli.app import run_app  # noqa: PLC0415 - a worker doesn't need it
    except KeyboardInterrupt:
        sys.exit(130)  # as `run_app` does

    sys.exit(run_app(arguments))


def become_sandbox_doctor(arguments: list[str]) -> NoReturn:
    """Replace this process by the program that finds out what this machine permits."""
    _become("skep_workers.sandbox", arguments)


def become_worker(arguments: list[str]) -> NoReturn:
    """Replace this process by a worker with these arguments."""
    try:
        check_extra("worker")
    except StartError as exc:
        print(f"skep worker: {exc}", file=sys.stderr)
        sys.exit(3)  # ExitCode.UNAVAILABLE, which a worker doesn't import
    _become("skep_workers", arguments)


def _become(module: str, arguments: list[str]) -> NoReturn:
    # -P: a file in the working directory must not stand in for a module of ours.
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606
