"""Descriptions of how a process ended."""

import os
import signal
from typing import Final

# The statuses with which a session process ends itself; the same is reported of user code that exits with one of them.
OWN_EXITS: Final = {
    70: "the engine failed, or met bytes that are no frames (exit status 70)",
    71: "it could not start (exit status 71)",
    74: "it closed its connection to the host (exit status 74)",
}


def describe_status(status: int | None) -> str:
    """Return a description of how a process ended, from its wait status."""
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


ENGINE_FAILED: Final = "the engine failed: "


def for_the_log(cause: str) -> str:
    """Return a description without the message of an exception, which may quote user code or values."""
    if not cause.startswith(ENGINE_FAILED):
        return cause
    return ENGINE_FAILED + cause.removeprefix(ENGINE_FAILED).partition(":")[0]
