"""`python -m skep_workers`: a worker; `skep worker` is the same."""

import contextlib
import signal
import sys


def main() -> int:
    """Run a worker and return the exit status; until it is loaded, Ctrl-C ends the process silently."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # otherwise it is ignored, as in a background job of a shell script
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from skep_workers.host.command_line import run_worker  # noqa: PLC0415 - see above

    signal.signal(signal.SIGINT, handler)
    return run_worker()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
