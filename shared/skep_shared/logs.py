"""structlog, set up once per process: one line per event, JSON for machines, colour for a terminal.

User code, its output and its values are never logged.
"""

import json
import logging
import sys
from typing import Any, Final, Literal

import structlog

LogFormat = Literal["auto", "json", "console"]

# json.dumps makes one anew for each line, which is a third of what that costs.
_encode: Final = json.JSONEncoder(default=repr).encode


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


def _as_json(event: dict[str, Any], **_options: Any) -> str:
    return _encode(event)
