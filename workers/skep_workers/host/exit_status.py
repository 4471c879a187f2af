"""How a process ended, in words."""

import os
import signal
from typing import Final

# With which a session process ends itself; user code that exits so is told the same.
OWN_EXITS: Final = {
    70: "the engine failed, or met bytes that are no frames (exit status 70)",
    71: "it could not start (exit status 71)",
    74: "it closed its connection to the host (exit status 74)",
}


def describe_status(status: int | None) -> str:
    """Say how a process ended, from its wait status."""
    if status is None:
        return "it ended, how is not known"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        return f"killed by {name}"
    code = os.WEXITSTATUS(status)
    return OWN_EXITS.get(code, f"exited with status {code}")
