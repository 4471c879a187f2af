"""Configures structlog once per process: one line per event, as JSON, or in colour on a terminal.

User code, its output and its values are never logged. Errors of other libraries may quote them, so tracebacks in the
log, and errors among the arguments of other libraries' log calls, are described by `foreign_errors`.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec
import structlog

from skep_shared.foreign_errors import describe_error, log_safely

LogFormat = Literal["auto", "json", "console"]

_encode: Final = msgspec.json.Encoder(enc_hook=repr).encode
_encode_anything: Final = json.JSONEncoder(default=repr, skipkeys=True).encode


def configure_logging(log_format: str = "auto", level: str = "info") -> None:
    """Write the logs of structlog and of the standard library's logging to stderr in one format."""
    as_console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    # The console's default tracebacks are not used, because they show local variables if rich is installed.
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if as_console
        else structlog.processors.JSONRenderer(_as_json)
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        log_safely,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[renderer], foreign_pre_chain=shared))
    handler.addFilter(_describe_errors)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def log_each(logger: Any, event: str, entries: Iterable[Mapping[str, Any]]) -> None:
    """Log an event once for each entry, at level info and in one write.

    Separate writes would cost a worker a tenth of its time, because every cell is logged and short cells end quickly.
    """
    bound = logger.bind()
    if not bound.is_enabled_for(logging.INFO):
        return
    config, context = structlog.get_config(), structlog.get_context(bound)
    lines: list[str] = []
    for entry in entries:
        line: Any = {**context, **entry, "event": event}
        try:
            for processor in config["processors"]:
                line = processor(bound, "info", line)
        except structlog.DropEvent:
            continue
        lines.append(line)
    if lines:
        config["logger_factory"]().msg("\n".join(lines))


def _describe_errors(record: logging.LogRecord) -> bool:
    """Describe the errors among the arguments of a standard log call; arq passes errors that a job has raised."""
    if isinstance(record.args, tuple) and any(isinstance(arg, BaseException) for arg in record.args):
        record.args = tuple(describe_error(arg) if isinstance(arg, BaseException) else arg for arg in record.args)
    return True


def report_unhandled(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an unhandled error of the loop, for `loop.set_exception_handler`. asyncio's message would quote user data."""
    exc, task = context.get("exception"), context.get("task") or context.get("future")
    message = str(context.get("message", ""))
    log = structlog.get_logger("asyncio")
    if "client" in context and message.startswith("Unclosed "):
        # A pipeline whose UNWATCH was not answered, because of a cancel or a timeout, keeps its connection until it is
        # garbage-collected. Then the driver closes the connection and reports that here.
        log.warning("redis.connection_closed", message=message)
        return
    name, code = (task.get_name(), task.get_coro()) if isinstance(task, asyncio.Task) else (None, None)
    log.error("loop.unhandled", message=message, task=name, code=getattr(code, "__qualname__", None), exc_info=exc)


def _as_json(event: dict[str, Any], **_options: Any) -> str:
    try:
        return _encode(event).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):  # a lone surrogate, an unsupported key
        return _encode_anything(event)
