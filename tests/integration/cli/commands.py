"""How tests start commands of `skep`."""

import sys

interpreter = sys.executable  # replaced by that of command_server.py, except in tests marked `real_start`


def skep_command(*arguments: str) -> list[str]:
    """Return the command line of `skep ARGUMENTS`."""
    return [interpreter, "-P", "-m", "skep.cli", *arguments]
