"""A worker from the command line: its flags, its signals and its exit status."""

import argparse
import asyncio
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NoReturn

import structlog
import uvloop

from skep_shared import __version__
from skep_shared.environment import unknown_variables, variable_of
from skep_shared.environment_settings import SECRETS
from skep_shared.errors import InvalidArgument, SkepError
from skep_shared.foreign_errors import describe_error
from skep_shared.logs import configure_logging, report_unhandled
from skep_shared.protocol.orphans import adopt_orphans
from skep_shared.settings import WorkerSettings
from skep_workers.host.broker.lease import RedisOutage
from skep_workers.host.worker import WorkerHost

log = structlog.get_logger()

FLAGS = {"redis_url": "--redis"}
OF_CLIENTS = ("tenant",)  # settings that have no flag here


class WorkerArguments(argparse.ArgumentParser):
    """The command line of a worker. An error is one line, as in every command, without the list of all flags."""

    def error(self, message: str) -> NoReturn:
        """End the program with this error."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parse_arguments(arguments: list[str]) -> tuple[WorkerSettings, argparse.Namespace]:
    """Read flags, each a setting; what isn't given comes from SKEP_* in the environment, otherwise from the default."""
    parser = WorkerArguments(
        prog="skep worker",
        usage="%(prog)s [--SETTING VALUE ...]",
        description="Run a worker: it hosts sessions and runs their cells until it gets SIGTERM.",
        epilog="Every setting can also be given as SKEP_NAME in the environment, e.g. SKEP_LEASE_SECONDS=5. "
        "Secrets are given only there: SKEP_SIGNING_KEY.",
    )
    parser.add_argument("--version", action="version", version=f"skep {__version__}")
    for name, field in WorkerSettings.model_fields.items():
        if name in OF_CLIENTS or name in SECRETS:
            continue
        flag = FLAGS.get(name, "--" + name.replace("_", "-"))
        default = f"default: {field.default}" if field.default not in (None, [], {}) else "default: none"
        options: dict[str, Any] = {"dest": name, "help": f"{field.description} ({default})", "metavar": "VALUE"}
        if field.default == []:
            options |= {"action": "append", "metavar": "NAME"}
        elif field.default == {}:
            options |= {"action": "append", "metavar": "NAME=VALUE"}
        parser.add_argument(flag, **options)
    parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--alive-fd", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    try:
        return _settings_of(given), given
    except InvalidArgument as exc:
        raise InvalidArgument(exc.field, exc.value, f"{exc.limit}{_origin(exc.field, given)}") from exc


def _origin(field: str, given: argparse.Namespace) -> str:
    """Return the flag or variable that set this setting, for a message; "" if its default holds."""
    name = field.partition(".")[0]
    if getattr(given, name, None) is not None:
        return f" (given by {FLAGS.get(name, '--' + name.replace('_', '-'))})"
    variable = variable_of(name)
    return f" (given by {variable})" if variable is not None else ""


def _settings_of(given: argparse.Namespace) -> WorkerSettings:
    overrides = {name: getattr(given, name, None) for name in WorkerSettings.model_fields}
    if overrides["worker_labels"] is not None:
        overrides["worker_labels"] = dict(_pairs("worker_labels", overrides["worker_labels"]))
    if overrides["detection"] is not None:
        lists = defaultdict(list)
        for name, value in _pairs("detection", overrides["detection"]):
            lists[name].append(value)
        overrides["detection"] = lists
    return WorkerSettings.load(**overrides)


def _pairs(field: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return each NAME=VALUE of a repeated flag as a pair. Raises InvalidArgument."""
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise InvalidArgument(field, text, "NAME=VALUE is needed")
        pairs.append((name, value))
    return pairs


async def serve(settings: WorkerSettings, *, ready_fd: int | None, alive_fd: int | None) -> None:
    """Run a worker until SIGTERM or SIGINT; a second signal ends the grace period.

    Its id is written to `ready_fd` when it is ready. It stops when `alive_fd` ends, because its parent has ended.
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


def run_worker() -> int:
    """Run a worker and return the exit status: 0 after a drain, 1 after a failure, 2 for a wrong flag or value."""
    try:
        settings, given = parse_arguments(sys.argv[1:])
    except SkepError as exc:
        print(f"skep worker: {exc}", file=sys.stderr)
        return 2
    configure_logging(settings.log_format, settings.log_level)
    for sentence in unknown_variables(WorkerSettings.model_fields):
        log.warning("environment.unknown", reason=sentence)
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
    except InvalidArgument as exc:  # the Redis URL, which is only read when the connection is made
        print(f"skep worker: {exc}{_origin(exc.field, given)}", file=sys.stderr)
        return 2
    except SkepError as exc:
        log.error("worker.failed", error=str(exc))
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as exc:  # a defect of ours, described without the data that its text may quote
        log.critical("worker.failed", error=describe_error(exc), exc_info=exc)
        return 1
    return 0
