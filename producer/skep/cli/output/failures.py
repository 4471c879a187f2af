"""Exit statuses, and the messages of commands that fail: one line on stderr, never a traceback."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from enum import IntEnum
from typing import Any

from skep.cli.output.screen import plain_text
from skep.cli.value_origins import with_origin
from skep_shared.errors import (
    BacklogFull,
    InvalidArgument,
    NotFound,
    QuotaExceeded,
    RateExceeded,
    SessionClosed,
    SkepError,
)

_REFUSALS = (NotFound, SessionClosed, BacklogFull, QuotaExceeded, RateExceeded)


class ExitCode(IntEnum):
    """The exit statuses of commands."""

    OK = 0
    CELL_FAILED = 1
    REFUSED = 2
    UNAVAILABLE = 3
    INTERRUPTED = 130  # 128 + SIGINT, as in shells
    BROKEN_PIPE = 141  # 128 + SIGPIPE


class RefusedInput(Exception):
    """An input named by the user can't be used; the text says which and why."""


class StepFailed(Exception):
    """A step of the tour failed; the text says which and how."""


def complain(text: object) -> None:
    """Print an error on stderr, in one line; text from a session in it can't harm the terminal."""
    line = " ".join(str(text).split())
    print(f"skep: {plain_text(line) if sys.stderr.isatty() else line}", file=sys.stderr, flush=True)


def run_to_exit(work: Coroutine[Any, Any, int]) -> int:
    """Run a command's coroutine, print the error that stopped it, if any, and return its exit status."""
    try:
        status = asyncio.run(_cancelled_by_ctrl_c(work))
        sys.stdout.flush()
    except (KeyboardInterrupt, asyncio.CancelledError):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        silence_stdout()
        return ExitCode.BROKEN_PIPE
    except StepFailed as exc:
        complain(exc)
        return ExitCode.CELL_FAILED
    except InvalidArgument as exc:
        complain(with_origin(exc, sys.argv[1:]))
        return ExitCode.REFUSED
    except (RefusedInput, *_REFUSALS) as exc:
        complain(exc)
        return ExitCode.REFUSED
    except SkepError as exc:
        complain(exc)
        return ExitCode.UNAVAILABLE
    return status


async def _cancelled_by_ctrl_c(work: Coroutine[Any, Any, int]) -> int:
    """Run the coroutine; Ctrl-C cancels it between two steps of the loop.

    asyncio.run would cancel it from the signal handler, in the middle of a step. asyncio.timeout(0), which redis-py
    uses to check for unread bytes, would take that cancellation for its own and drop it.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - asyncio.run has made it
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    return await work


def silence_stdout() -> None:
    """Discard buffered output: the reader of our output has closed its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
