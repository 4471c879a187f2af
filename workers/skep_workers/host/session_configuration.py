"""What a session process is told before its first cell."""

from typing import Any, Final

from skep_shared.models import SessionOptions
from skep_shared.settings import WorkerSettings

PROCESS_LIMITS: Final = ("workspace_quota_bytes", "snapshot_seconds", "snapshot_memory_bytes", "state_bytes")


def session_configuration(options: SessionOptions, settings: WorkerSettings) -> dict[str, Any]:
    """Give the session's options, over the worker's lists for the analysis, and the worker's limits, by name."""
    detection = options.detection.model_dump()
    for name in ("blocking", "not_blocking"):
        detection[name] = [*settings.detection.get(name, []), *detection[name]]
    limits = {name: getattr(settings, name) for name in PROCESS_LIMITS}
    return options.model_dump() | limits | {"detection": detection, "ast_cache_size": settings.ast_cache_size}
