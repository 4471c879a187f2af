"""`python -m skep_workers`: a worker from the command line; `skep worker` is the same."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from typing import Any

import structlog
import uvloop

from skep_shared import __version__
from skep_shared.errors import InvalidArgument, SkepError
from skep_shared.foreign_errors import describe_error
from skep_shared.logs import configure_logging, report_unhandled
from skep_shared.orphans import adopt_orphans
from skep_shared.settings import WorkerSettings
from skep_workers.host.lease import RedisOutage
from skep_workers.host.worker import WorkerHost

log = structlog.get_logger()

FLAGS = {"redis_url": "--redis"}


def parse_arguments(arguments: list[str]) -> tuple[WorkerSettings, argparse.Namespace]:
    """Read flags, each a setting; what isn't given comes from SKEP_* in the environment, else from the default."""
    parser = argparse.ArgumentParser(
        prog="skep worker",
        description="Run a worker: it hosts sessions and runs their cells until it gets SIGTERM.",
        epilog="Every setting can also be given as SKEP_NAME in the environment, e.g. SKEP_LEASE_SECONDS=5.",
    )
    parser.add_argument("--version", action="version", version=f"skep {__version__}")
    for name, field in WorkerSettings.model_fields.items():
        flag = FLAGS.get(name, "--" + name.replace("_", "-"))
        default = f"default: {field.default}" if field.default not in ([], {}) else "default: none"
        options: dict[str, Any] = {"dest": name, "help": f"{field.description} ({default})", "metavar": "VALUE"}
        if field.default == []:
            options |= {"action": "append", "metavar": "NAME"}
        elif field.default == {}:
            options |= {"action": "append", "metavar": "NAME=VALUE"}
        parser.add_argument(flag, **options)
    parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--alive-fd", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    overrides = {name: getattr(given, name) for name in WorkerSettings.model_fields}
    if overrides["worker_labels"] is not None:
        pairs = [pair.partition("=") for pair in overrides["worker_labels"]]
        for pair in pairs:
            if not pair[0] or not pair[1]:
                raise InvalidArgument("worker_labels", "".join(pair), "NAME=VALUE is needed")
        overrides["worker_labels"] = {name: value for name, _, value in pairs}
    return WorkerSettings.load(**overrides), given


async def serve(settings: WorkerSettings, *, ready_fd: int | None, alive_fd: int | None) -> None:
    """Run a worker until SIGTERM or SIGINT; a second signal ends the grace period.

    Its id is written to `ready_fd` when it is ready; it stops when `alive_fd` ends, which is when its parent has gone.
    """

    def on_ready(worker_id: str) -> None:
        if ready_fd is not None:
            os.write(ready_fd, f"{worker_id}\n".encode())
            os.close(ready_fd)

    worker = WorkerHost(settings, on_ready=on_ready)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(report_unhandled)
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, worker.stop)

    def on_orphaned(fd: int) -> None:
        loop.remove_reader(fd)
        worker.stop()

    if alive_fd is not None:
        loop.add_reader(alive_fd, on_orphaned, alive_fd)
    await worker.run()


def main() -> int:
    """Run; gives the exit status: 0 after a drain, 1 for a failure that is told in one line, 2 for bad flags."""
    try:
        settings, given = parse_arguments(sys.argv[1:])
    except SkepError as exc:
        print(f"skep worker: {exc}", file=sys.stderr)
        return 2
    configure_logging(settings.log_format, settings.log_level)
    adopt_orphans()
    try:
        uvloop.run(serve(settings, ready_fd=given.ready_fd, alive_fd=given.alive_fd))
    except BaseExceptionGroup as group:
        failures = group.subgroup((SkepError, RedisOutage))
        if failures is None:  # a defect of ours
            log.critical("worker.failed", error=describe_error(group), exc_info=group)
        else:
            log.error("worker.failed", error="; ".join(str(exc) for exc in failures.exceptions))
        return 1
    except InvalidArgument as exc:  # the URL, which only the connection's maker can read
        print(f"skep worker: {exc}", file=sys.stderr)
        return 2
    except SkepError as exc:
        log.error("worker.failed", error=str(exc))
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as exc:  # a defect of ours, told without what it may quote
        log.critical("worker.failed", error=describe_error(exc), exc_info=exc)
        return 1
    return 0


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
