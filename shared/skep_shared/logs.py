"""structlog, set up once per process: one line per event, JSON for machines, colour for a terminal.

User code, its output and its values are never logged.
"""

import json
import logging
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec
import structlog

LogFormat = Literal["auto", "json", "console"]

_encode: Final = msgspec.json.Encoder(enc_hook=repr).encode
_encode_anything: Final = json.JSONEncoder(default=repr, skipkeys=True).encode


def configure_logging(log_format: str = "auto", level: str = "info") -> None:
    """Send structlog and the standard library's logging to stderr in one format."""
    as_console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if as_console else structlog.processors.JSONRenderer(_as_json)
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not as_console:
        shared.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[renderer], foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def log_each(logger: Any, event: str, entries: Iterable[Mapping[str, Any]]) -> None:
    """Log an event once for each of these, at level info and in one write.

    One by one they would cost a worker a tenth of its time: a short cell is soon done, and each is logged.
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


def _as_json(event: dict[str, Any], **_options: Any) -> str:
    try:
        return _encode(event).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):  # a lone surrogate, a key that is none
        return _encode_anything(event)
