"""The program `skep`: loads the command line and runs it.

It is a package of its own because importing any part of `skep` imports all of what a client needs. On a busy machine
that takes seconds, and Ctrl-C meanwhile would print a traceback. Imports nothing but the command line.
"""

import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line; until it is loaded, Ctrl-C ends the process silently."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # otherwise it is ignored, as in a background job of a shell script
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from skep.cli import main as run_command_line  # noqa: PLC0415 - see above

    signal.signal(signal.SIGINT, handler)
    run_command_line()
